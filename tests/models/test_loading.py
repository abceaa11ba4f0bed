"""From names to a network: what differs at each start, and kinds not to be learned, are refused."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from streammeta.errors import ConfigError
from tests.networks import network

FAULTY = "tests.faulty_models"


@pytest.mark.parametrize("source", ["numpy", "random", "torch"])
def test_what_the_seeded_generators_give_is_the_same_at_each_start(source: str) -> None:
    """Frozen layers too, whatever was drawn before; the process's own generators go on untouched."""
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    expected = random.random(), np.random.random(), torch.rand(()).item()
    frozen = []
    for seed in (3, 3, 4):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        frozen.append(network(f"{FAULTY}:frozen_by", {"source": source}, seed=seed).module[0].weight)  # type: ignore[index]  # a Sequential
        assert (random.random(), np.random.random(), torch.rand(()).item()) == expected
        random.random()
    assert torch.equal(frozen[0], frozen[1])
    assert not torch.equal(frozen[0], frozen[2])


@pytest.mark.parametrize("source", ["system", "unseeded", "clock", "torch_own"])
def test_what_differs_at_each_start_is_refused(source: str) -> None:
    """The tensor is named, a frozen one too, and the remedy."""
    with pytest.raises(
        ConfigError, match=r"model\.factory: parameter 0\.weight.*differs at each start.*seed"
    ):
        network(f"{FAULTY}:frozen_by", {"source": source})


@pytest.mark.parametrize(
    ("factory", "args", "said"),
    [
        ("singleton", {}, "returns the same module at each call.*build a new module"),
        ("lazy", {}, r"layer 0 \(LazyLinear\) has no shape until it sees data.*input size"),
        ("Complex", {}, "parameter wave is complex.*view_as_complex"),
        ("scripted", {}, r"layer 0 .* is scripted or traced.*give the module itself"),
        ("scripted", {"trace": True}, "is scripted or traced"),
        ("all_frozen", {}, "without parameters that may be learned: all 2 have requires_grad = False"),
        ("spectral", {}, r"layer 0\.parametrizations\.weight\.0 .*spectral_norm.*remove_parametrizations"),
        ("scattered", {}, r"layer model \(DataParallel\) spreads each call over devices.*give the module"),
        ("compiled_in_place", {}, "is wrapped by torch.compile"),
        ("SINGLETON", {}, "SINGLETON is a module, not what builds one"),
        ("a_class", {}, "returned the class Linear, not a torch.nn.Module"),
        (
            "leaving",
            {},
            r"leaving fails: .*faulty_models\.py, line \d+, in leaving: .*sys\.exit\('no weights'\)",
        ),
        ("broken", {}, r"broken fails: KeyError in faulty_models\.py, line \d+, in broken: 'width'"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_kinds_that_cannot_be_learned(factory: str, args: dict[str, Any], said: str) -> None:
    """The layer or the line is named, and what to do instead."""
    with pytest.raises(ConfigError, match=f"(?s)^model.*{said}"):
        network(f"{FAULTY}:{factory}", args)


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*:FutureWarning")
def test_the_older_spectral_norm_is_refused_too() -> None:
    """It is a hook, not a layer."""
    with pytest.raises(ConfigError, match=r"layer 0 \(Linear\) is a spectral_norm"):
        network(f"{FAULTY}:spectral", {"old": True})


def test_a_lazy_module_that_the_factory_has_called_serves() -> None:
    """As the remedy says."""
    assert network(f"{FAULTY}:lazy_called").dimension == 3 * 4 + 4 + 4 + 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import no_such_package",
            r"ModuleNotFoundError in (\w+)\.py, line 1, in <module>.*install no_such_package",
        ),
        (
            "from torch.nn import Linaer",
            r"ImportError in \w+\.py, line 1, in <module>: cannot import name 'Linaer'",
        ),
        ("import sys; sys.exit(2)", r"RuntimeError in \w+\.py, line 1, in <module>: .*sys\.exit\(2\)"),
        ("def build(:", r"SyntaxError: invalid syntax \(\w+\.py, line 1\)"),
    ],
)
def test_a_file_of_the_users_that_fails_is_named_with_its_line(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the user's own file is missing, but what it asks for."""
    name = f"own_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=f'^model.factory = "{name}:build": .*{said}'):
        network(f"{name}:build")


@pytest.mark.parametrize("how", ["threads", "gradients", "anomalies"])
def test_switches_of_the_process_stay_as_they_were(how: str) -> None:
    """The bits of a sum depend on model.threads, whatever the factory would like."""
    before = torch.get_num_threads(), torch.is_grad_enabled(), torch.is_anomaly_enabled()
    network(f"{FAULTY}:turning", {"how": how})
    assert (torch.get_num_threads(), torch.is_grad_enabled(), torch.is_anomaly_enabled()) == before


@pytest.mark.filterwarnings("error")
def test_a_loss_is_tried_in_silence() -> None:
    """That a trial's shapes broadcast is what it finds out, not what a user must read."""
    assert not network(loss="torch.nn:L1Loss").takes_classes


@pytest.mark.parametrize(
    ("loss", "classes"),
    [
        ("torch.nn:L1Loss", False),
        ("torch.nn:CrossEntropyLoss", True),
        ("torch.nn:NLLLoss", True),
        ("torch.nn:BCEWithLogitsLoss", False),
        ("torch.nn.functional:cross_entropy", True),
        ("torch.nn.functional:smooth_l1_loss", False),
        (f"{FAULTY}:weighted", True),
        (f"{FAULTY}:as_logits", True),
        (f"{FAULTY}:five_weights", True),
        (f"{FAULTY}:probabilities", False),
        (f"{FAULTY}:made", False),
        ("tests.networks:weighted_embedding_loss", False),
    ],
)
def test_losses_of_any_kind_say_what_their_targets_are(loss: str, classes: bool) -> None:
    """Classes, instances, functions and makers; by their word, by their kind, or by a trial."""
    assert network(loss=loss).takes_classes is classes


def test_a_weighted_loss_is_moved_and_the_users_own_left_alone() -> None:
    """In the model's numbers it gives what PyTorch gives; the instance of the user stays as it was."""
    from tests.faulty_models import weighted

    made = network("streammeta.models:mlp", {"sizes": [2, 4, 3]}, loss=f"{FAULTY}:weighted")
    x, y = torch.tensor([[1.0, 2.0], [3.0, -1.0]], dtype=torch.float64), torch.tensor([2, 0])
    log_p = torch.log_softmax(made.predict(made.initial, x), 1)
    expected = -(3 * log_p[0, 2] + 1 * log_p[1, 0]) / 4
    torch.testing.assert_close(made.loss(made.initial, x, y), expected)
    assert weighted.weight is not None
    assert weighted.weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        (f"{FAULTY}:vector", r"TypeError.*shape \[4, 1\], not one real number.*reduction"),
        (f"{FAULTY}:Learning", "parameter noise of the loss would have to be learned"),
        (f"{FAULTY}:one_argument", "takes 1 positional argument"),
        ("torch.nn:TripletMarginLoss", "TypeError"),
        ("torch.nn:AdaptiveLogSoftmaxWithLoss", "TypeError.*name an instance"),
    ],
)
def test_losses_that_cannot_be_used(loss: str, said: str) -> None:
    """Told at start, in words."""
    with pytest.raises(ConfigError, match=rf'(?s)^model\.loss = "{re.escape(loss)}": .*{said}'):
        network(loss=loss)
