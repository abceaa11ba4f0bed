"""What a call of the model leaves behind is found out before the first event is learned."""

import itertools
import random
from typing import Any

import pytest
import torch

from streammeta.errors import ConfigError
from streammeta.models import probe
from streammeta.models.trial import try_at_start
from streammeta.models.user_code import where
from tests.networks import network

FAULTY = "tests.faulty_models"


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("written_buffer", "changes the buffer mean"),
        ("replaced_buffer", "changes the buffer mean"),
        ("unsaved_buffer", "changes the buffer passing"),
        ("batch_norm", "changes the buffer mean"),
        ("counter", "changes the attribute seen"),
        ("listed", "changes the attribute history"),
        ("class_counter", "answers otherwise at the second call"),
        ("clock", "answers otherwise at the second call"),
        ("torch_draw", "draws random numbers from torch"),
        ("functional_dropout", "draws random numbers from torch"),
        ("numpy_draw", "draws random numbers from NumPy"),
        ("python_draw", "draws random numbers from random"),
        ("own_numpy", "changes the attribute draws"),
        ("own_torch", "changes the attribute own"),
        ("weight_clipped", "writes to its parameter out.weight"),
        ("own_input", "the model writes to what it is given.*begin with a copy"),
        ("own_parameter", "another tensor in place of its parameter out.weight"),
        ("first_input", "after it has seen another input"),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_a_call_leaves_behind_is_refused(how: str, said: str, dtype: str) -> None:
    """The buffer, the attribute, the generator or the parameter is named; nothing was drawn or written."""
    made = network(f"{FAULTY}:keeping", {"how": how}, dtype=dtype)
    before, at = made.initial.clone(), torch.get_rng_state()
    with pytest.raises(
        ConfigError, match=f"^model.factory: .*{said}.*(remove|leave it out|leave out|local variable)"
    ):
        try_at_start(made)
    assert torch.equal(made.initial, before)
    assert torch.equal(torch.get_rng_state(), at)


@pytest.mark.parametrize("call", range(1, 9))
def test_what_another_thread_draws_is_not_the_models(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Kafka client shuffles its brokers when it likes, with the process's generator."""
    answers, calls = probe._answers, itertools.count(1)

    def interrupted(*of: Any) -> tuple[torch.Tensor, torch.Tensor]:
        if next(calls) == call:
            random.random()
        return answers(*of)

    monkeypatch.setattr(probe, "_answers", interrupted)
    assert try_at_start(network("streammeta.models:mlp", {"sizes": [2, 3, 1]})) == (3, 2)


@pytest.mark.parametrize("how", ["cached", "keyed_cache"])
def test_caches_are_welcome(how: str) -> None:
    """They follow from shapes alone: a fresh build answers the same."""
    assert try_at_start(network(f"{FAULTY}:keeping", {"how": how})) == (3, 3)


@pytest.mark.parametrize(
    ("factory", "args", "shape"),
    [
        ("streammeta.models:mlp", {"sizes": [2, 3, 1]}, (3, 2)),
        ("streammeta.models:conv4", {"ways": 3, "channels": 2, "image_size": 16}, (3, 1, 28, 28)),
    ],
)
def test_the_first_layer_tells_the_input(factory: str, args: dict[str, object], shape: object) -> None:
    """From a linear layer, or a convolution of which image sizes are tried."""
    assert try_at_start(network(factory, args)) == shape


@pytest.mark.parametrize(
    ("factory", "args", "said"),
    [
        ("Returning", {"what": "tuple"}, "the model returns tuple, not one tensor"),
        ("Returning", {"what": "dict"}, "the model returns dict"),
        ("Returning", {"what": "none"}, "the model returns NoneType"),
        ("Returning", {"what": "sign"}, "the model predicts bool on cpu"),
        ("Returning", {"what": "whole"}, "the model predicts int64"),
        ("Returning", {"what": "meta"}, "float32 on meta for x on cpu|float64 on meta for x on cpu"),
        (
            "Constant",
            {"bug": "name"},
            r"NameError in faulty_models\.py, line \d+, in forward: name 'undefined",
        ),
        ("Constant", {"bug": "dtype"}, r"RuntimeError in faulty_models\.py.*model\.dtype converts"),
    ],
)
def test_a_model_that_fails_on_any_data_is_told_at_start(
    factory: str, args: dict[str, str], said: str
) -> None:
    """With the user's line where there is one, and what to do."""
    with pytest.raises(ConfigError, match=f"(?s)^model.factory: the model fails: .*{said}"):
        try_at_start(network(f"{FAULTY}:{factory}", args))


@pytest.mark.parametrize(
    ("what", "loss", "said"),
    [
        ("cut", "mse", "does not depend on the model's parameters.*detach"),
        ("prediction", "constant", "does not depend on the model's parameters"),
        ("prediction", "centring", ".loss: the loss writes to what it is given"),
    ],
)
def test_what_could_never_be_learned_is_told_at_start(what: str, loss: str, said: str) -> None:
    """A prediction that is cut off, a loss that is always the same, a target that changes."""
    made = network(f"{FAULTY}:Returning", {"what": what}, loss=loss if loss == "mse" else f"{FAULTY}:{loss}")
    with pytest.raises(ConfigError, match=f"^model.*{said}"):
        try_at_start(made)


def test_a_call_cannot_end_the_program() -> None:
    """It fails like any other, at the user's line."""
    made = network(f"{FAULTY}:Returning", {"what": "exit"})
    with pytest.raises(RuntimeError, match=r"it would end the program: sys\.exit\(3\)") as caught:
        made.predict(made.initial, made.initial.new_ones(2, 3))
    assert where(caught.value).startswith("faulty_models.py, line ")
