"""The network as a function of a flat vector: what it promises of its numbers, and what it refuses."""

import math
import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from streammeta.errors import BadEvent, ConfigError, Reason
from streammeta.events import Array, Episode, episode_of
from streammeta.models.loading import load_callable, load_network
from streammeta.models.network import Parameter, unflatten
from tests.networks import classifier, network

HERE = "tests.networks"


class Nested:
    """A place for a callable inside a class, as in "package.module:Class.method"."""

    @staticmethod
    def build(width: int = 2) -> nn.Module:
        """A linear model."""
        return nn.Linear(width, 1)


def running(track: bool = True) -> nn.Module:
    """A model whose batch norm may keep running statistics."""
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3, track_running_stats=track), nn.Linear(3, 1))


def dropping(p: float = 0.5) -> nn.Module:
    """A model with dropout."""
    return nn.Sequential(nn.Linear(2, 3), nn.Dropout(p))


def greedy() -> nn.Module:
    """A factory that moves the global generator a long way."""
    torch.randn(1000)
    return nn.Linear(2, 1)


def build(factory: str, args: dict[str, Any] | None = None, **settings: Any) -> Tensor:
    """The first parameters of a network."""
    return network(factory, args, **settings).initial


def episode(x: object, y: object) -> Episode[Array]:
    """Support and query alike, in the dtypes in which they come."""
    a, b = np.asarray(x), np.asarray(y)
    return episode_of(a, b, a, b)


@given(st.lists(st.lists(st.integers(1, 3), max_size=3), min_size=1, max_size=6), st.integers(0, 2**32))
def test_flat_and_named_parameters_are_the_same_numbers(shapes: list[list[int]], seed: int) -> None:
    """Names to flat and back loses nothing, for any shapes, scalars included."""
    layout = tuple(Parameter(f"p{i}", tuple(shape)) for i, shape in enumerate(shapes))
    flat = torch.randn(sum(p.size for p in layout), generator=torch.Generator().manual_seed(seed))
    named = unflatten(layout, flat)
    assert [(n, tuple(t.shape)) for n, t in named.items()] == [(p.name, p.shape) for p in layout]
    assert torch.equal(torch.cat([t.reshape(-1) for t in named.values()]), flat)


def test_flat_parameters_drive_the_model() -> None:
    """`predict` is the module with its parameters replaced, in the order of `layout`."""
    made = network()
    flat = torch.randn(made.dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    named = unflatten(made.layout, flat)
    x = torch.randn(5, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    hidden = torch.relu(x @ named["0.weight"].T + named["0.bias"])
    expected = hidden @ named["2.weight"].T + named["2.bias"]
    torch.testing.assert_close(made.predict(flat, x), expected)
    y = torch.ones(5, 1, dtype=torch.float64)
    torch.testing.assert_close(made.loss(flat, x, y), ((expected - y) ** 2).mean())


def half_frozen() -> nn.Module:
    """A model whose first layer is not to be learned."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    model[0].requires_grad_(False)
    return model


def test_frozen_parameters_are_used_and_not_learned() -> None:
    """A parameter without requires_grad is no part of the flat vector, and still used to predict."""
    net = load_network(
        "tests.models.test_network:half_frozen", {}, loss="mse", seed=3, dtype="float64", device="cpu"
    )
    assert [parameter.name for parameter in net.layout] == ["1.weight", "1.bias"]
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(net.predict(net.initial, x), net.module(x))
    assert not torch.equal(net.predict(net.initial + 1, x), net.module(x))


def test_initial_parameters_are_those_of_the_module() -> None:
    """The flat start holds the factory's own values."""
    torch.manual_seed(7)
    expected = nn.Linear(2, 1)
    made = network("streammeta.models:linear", {"inputs": 2}, seed=7, dtype="float32")
    assert torch.equal(made.initial, torch.cat([p.detach().reshape(-1) for p in expected.parameters()]))


def test_shared_weights_are_counted_once() -> None:
    """A parameter under two names lies in the flat vector once, and both places use it."""
    made = network(f"{HERE}:Tied")
    assert [p.name for p in made.layout] == ["one.weight", "one.bias", "two.bias"]
    flat = torch.arange(1.0, 9.0, dtype=torch.float64)
    weight, a, b = flat[:4].view(2, 2), flat[4:6], flat[6:]
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    torch.testing.assert_close(made.predict(flat, x), torch.tanh(x @ weight.T + a) @ weight.T + b)


def shared() -> nn.Module:
    """One layer under two names."""
    layer = nn.Linear(2, 2)
    return nn.Sequential(layer, nn.Tanh(), layer)


def test_a_shared_layer_is_learned_once_and_used_twice() -> None:
    """Both places see the flat vector."""
    made = network(f"{__name__}:shared")
    assert [p.name for p in made.layout] == ["0.weight", "0.bias"]
    flat = torch.arange(1.0, 7.0, dtype=torch.float64)
    weight, bias = flat[:4].view(2, 2), flat[4:]
    x = torch.tensor([[0.1, -0.2]], dtype=torch.float64)
    expected = torch.tanh(x @ weight.T + bias) @ weight.T + bias
    torch.testing.assert_close(made.predict(flat, x), expected)


def test_same_seed_same_start() -> None:
    """The start depends on the seed, and on nothing that was drawn before."""
    torch.manual_seed(1)
    one = build("streammeta.models:mlp", {"sizes": [2, 3, 1]}, seed=5)
    torch.manual_seed(2)
    torch.randn(17)
    assert torch.equal(one, build("streammeta.models:mlp", {"sizes": [2, 3, 1]}, seed=5))
    assert not torch.equal(one, build("streammeta.models:mlp", {"sizes": [2, 3, 1]}, seed=6))


def test_same_start_in_another_process() -> None:
    """The start is the same in every process: a new state can be made twice."""
    code = (
        "from streammeta.models.loading import load_network as load;"
        "n = load('streammeta.models:mlp', {'sizes': [2, 3, 1]}, loss='mse', seed=9, dtype='float64',"
        " device='cpu'); print(n.initial.numpy().tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout) == network(seed=9).initial.numpy().tobytes()


def test_the_global_generator_is_left_alone() -> None:
    """Whatever a factory draws, the process's own random numbers go on as if nothing had been built."""
    torch.manual_seed(11)
    before = torch.get_rng_state()
    build(f"{__name__}:greedy")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("float64", torch.float64)])
def test_numbers_are_cast_to_the_models_dtype(dtype: str, expected: torch.dtype) -> None:
    """Whatever x and y come in, integers and booleans too."""
    made = network(dtype=dtype)
    assert made.initial.dtype == expected
    for x in (np.ones((2, 2), np.float16), np.ones((2, 2), np.uint8), np.ones((2, 2), bool)):
        support, query = made.tensors(episode(x, [[1], [2]]))
        assert {support.x.dtype, support.y.dtype, query.x.dtype, query.y.dtype} == {expected}
        assert support.y.tolist() == [[1.0], [2.0]]


def test_the_events_arrays_are_not_shared() -> None:
    """Tensors are copies: an event, also a read-only one, is never written to."""
    x = np.ones((2, 2))
    x.flags.writeable = False
    made = network().tensors(episode(x, [[1.0], [2.0]]))
    made.support.x.zero_()
    assert x.all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e300])
@pytest.mark.parametrize("place", ["x", "y"])
def test_numbers_that_are_not_finite_are_refused(bad: float, place: str) -> None:
    """NaN, infinity, and what becomes infinity in float32; the message names x or y."""
    x, y = [[1.0, 1.0]], [[1.0]]
    (x if place == "x" else y)[0][0] = bad
    with pytest.raises(BadEvent, match=f"^{place} holds NaN, infinity or a number too large") as refused:
        network(dtype="float32").tensors(episode(x, y))
    assert (refused.value.reason, refused.value.stage) == (Reason.NON_FINITE_INPUT, "step")


def test_what_is_too_large_for_float32_serves_in_float64() -> None:
    """1e300 is a number like others there."""
    assert network(dtype="float64").tensors(episode([[1e300, 0.0]], [[1.0]])).support.x[0, 0] == 1e300


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.int8, np.float16, np.float32, np.float64, bool])
def test_class_numbers_come_in_any_dtype(dtype: Any) -> None:
    """0 and 1 as integers, whole floats or booleans are the same classes."""
    y = classifier().tensors(episode(np.ones((2, 2)), np.array([0, 1], dtype))).support.y
    assert y.dtype == torch.int64
    assert y.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (0.5, Reason.BAD_TENSOR),
        (math.nan, Reason.NON_FINITE_INPUT),
        (math.inf, Reason.NON_FINITE_INPUT),
        (-math.inf, Reason.NON_FINITE_INPUT),
    ],
)
def test_class_numbers_must_be_whole_and_finite(bad: float, reason: Reason) -> None:
    """A fraction is a bad tensor, NaN and infinity are not finite: never a class."""
    with pytest.raises(BadEvent, match=r"^y (must hold class numbers|holds NaN or infinity)") as refused:
        classifier().tensors(episode(np.ones((2, 2)), [0.0, bad]))
    assert refused.value.reason == reason


def test_class_numbers_too_large_become_no_class() -> None:
    """A float beyond all integers is cast without a warning to what the range check refuses."""
    y = classifier().tensors(episode(np.ones((2, 2)), [0.0, 1e300])).support.y
    assert not 0 <= y[1] < 2**40


def test_integers_stay_integers_for_embeddings_alone() -> None:
    """Token numbers reach an embedding as integers; floats, and other models, get real numbers."""
    tokens = episode(np.array([[0, 4], [1, 2]], np.int16), [[1.0], [2.0]])
    embedding = network(f"{HERE}:embedded")
    assert embedding.tensors(tokens).support.x.dtype == torch.int64
    assert embedding.loss(embedding.initial, *embedding.tensors(tokens).support).isfinite()
    assert network().tensors(tokens).support.x.dtype == torch.float64
    real = episode(np.ones((2, 2)), [[1.0], [2.0]])
    assert embedding.tensors(real).support.x.dtype == torch.float64


def test_running_statistics_are_refused_with_the_remedy() -> None:
    """The layer and its kind are named; without running statistics the same model serves."""
    with pytest.raises(ConfigError, match=r"layer 1 \(BatchNorm1d\).*track_running_stats=False.*GroupNorm"):
        build(f"{__name__}:running")
    assert build(f"{__name__}:running", {"track": False}).numel() == 9 + 6 + 4


def test_dropout_is_refused_with_the_remedy() -> None:
    """The layer is named; with p = 0 it serves."""
    with pytest.raises(ConfigError, match=r"layer 1 \(Dropout\).*random numbers.*p=0"):
        build(f"{__name__}:dropping")
    assert build(f"{__name__}:dropping", {"p": 0.0}).numel() == 9


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("mlp", 'model.factory = "mlp": write "package.module:callable"'),
        ("streammeta.models:", 'write "package.module:callable"'),
        (":mlp", 'write "package.module:callable"'),
        ("no.such.module:mlp", "cannot import no.such.module (No module named 'no'); is it installed"),
        ("streammeta.models:mpl", "streammeta.models has no mpl"),
        ("streammeta.models:mlp.deep", "streammeta.models has no mlp.deep"),
        ("os:sep", "sep cannot be called"),
        (f"{HERE}:lazy", "returned str, not a torch.nn.Module"),
        (f"{HERE}:settled", "a model without parameters that may be learned"),
    ],
)
def test_a_bad_factory_is_named(factory: str, said: str) -> None:
    """The message names the field, the path and what is wrong with it."""
    with pytest.raises(ConfigError, match=re.escape(said)) as refused:
        build(factory)
    assert "model.factory" in str(refused.value)
    assert factory in str(refused.value)


def test_a_factory_may_lie_inside_a_class() -> None:
    """As the configuration allows: "package.module:Class.method"."""
    assert build(f"{__name__}:Nested.build", {"width": 4}).numel() == 5


@pytest.mark.parametrize(
    ("factory", "args"),
    [
        ("streammeta.models:mlp", {"size": [1, 2]}),
        ("streammeta.models:mlp", {"sizes": [1]}),
        ("streammeta.models:mlp", {"sizes": [1, -2]}),
        ("streammeta.models:mlp", {"sizes": 3}),
        ("streammeta.models:linear", {"inputs": "two"}),
        ("streammeta.models:conv4", {"norm": "layer"}),
        ("streammeta.models:conv4", {"image_size": 8}),
    ],
)
def test_arguments_that_the_factory_refuses_are_named(factory: str, args: dict[str, Any]) -> None:
    """Wrong names, wrong values, wrong kinds: the arguments and the factory's own words."""
    with pytest.raises(
        ConfigError, match=rf"^model\.args = .*{next(iter(args))}.*{factory} refuses them: .+"
    ):
        build(factory, args)


@pytest.mark.parametrize(
    ("loss", "said"),
    [
        ("mes", 'model.loss = "mes": write "package.module:callable", or one of mse, cross_entropy'),
        ("streammeta.models.losses:mes", "streammeta.models.losses has no mes"),
        ("streammeta.models.losses:LOSSES", "LOSSES cannot be called"),
    ],
)
def test_a_bad_loss_is_named(loss: str, said: str) -> None:
    """The message names the field, and the built-in losses where the text has no module."""
    with pytest.raises(ConfigError, match=re.escape(said)):
        network(loss=loss)


def test_a_loss_by_import_path_is_used() -> None:
    """Also a built-in one by its path: then it still takes class numbers."""
    assert network(loss="torch.nn.functional:l1_loss").loss_of is functional.l1_loss
    assert not network(loss="torch.nn.functional:l1_loss").takes_classes
    assert network(loss="streammeta.models.losses:cross_entropy").takes_classes
    assert load_callable("math:sqrt", "model.loss") is math.sqrt


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cpu:x"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    """The message names it and says what always works."""
    with pytest.raises(
        ConfigError, match=rf'^model\.device = "{device}" cannot be used here: .+; use "cpu"$'
    ):
        load_network("streammeta.models:linear", {}, loss="mse", seed=0, dtype="float32", device=device)
