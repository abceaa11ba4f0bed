"""Whatever a model is made of: exported, loaded strictly, it predicts as the state does.

`CASES` may be any list: factory by import path, its arguments, how x is made, the loss.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

import streammeta
from streammeta.config import Config
from streammeta.events import Array, TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.models.constants import constants_of, pack_constants, unpack_constants
from streammeta.models.loading import load_callable
from streammeta.models.network import Network
from streammeta.models.placement import moved
from streammeta.runtime.blueprint import Blueprint, build_blueprint
from streammeta.state import export
from streammeta.state.checkpoint import Checkpoint, pack, unpack
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learning import learn, nothing_stored


class Shared(nn.Module):
    """A learned matrix under two names and in two places, a frozen one likewise, a buffer likewise."""

    scale: Tensor
    also: Tensor
    seen_through: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(3, 3), nn.Linear(3, 3, bias=False), nn.Linear(3, 1)
        self.two.weight = self.one.weight
        self.again = self.one
        self.fixed, self.copy = nn.Linear(3, 3).requires_grad_(False), nn.Linear(3, 3, bias=False)
        self.copy.weight = self.fixed.weight
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 0.5]))
        self.register_buffer("also", self.scale)
        self.register_buffer("seen_through", self.one.weight)

    def forward(self, x: Tensor) -> Tensor:
        """All of them."""
        h = torch.tanh(self.two(torch.tanh(self.one(x) * self.scale))) + self.fixed(x) @ self.seen_through
        prediction: Tensor = self.out(self.again(self.copy(h)) + self.also)
        return prediction


class Kinds(nn.Module):
    """Buffers of every kind: persistent or not, integers, flags, a scalar, none, complex, no numbers."""

    order: Tensor
    flags: Tensor
    middle: Tensor
    spectrum: Tensor
    shift: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(6, 1)
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("flags", torch.tensor([True, False, True]))
        self.register_buffer("middle", torch.tensor(0.5, dtype=torch.float16))
        self.register_buffer("absent", None)
        self.register_buffer("empty", torch.zeros(0, 2))
        self.register_buffer("spectrum", torch.tensor([1 + 2j, 0.5j, -1.0]))
        self.register_buffer("shift", torch.arange(3.0), persistent=False)
        self.gate = nn.Parameter(torch.tensor(0.3))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """All of them."""
        x = x[:, self.order] * self.flags + self.shift + self.middle + self.frozen
        seen = torch.cat([x, torch.view_as_real(self.spectrum).sum(1) * x], 1)
        prediction: Tensor = self.out(self.gate * seen)
        return prediction


class Tied(nn.Module):
    """Tied weights, a frozen backbone and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mid = nn.Embedding(11, 6), nn.Linear(6, 6).requires_grad_(False)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((6,), 1.5))

    def forward(self, x: Tensor) -> Tensor:
        """Token numbers to logits."""
        logits: Tensor = self.head(torch.tanh(self.mid(self.embed(x).mean(1) * self.scale)))
        return logits


class Attention(nn.Module):
    """Multi-head attention by hand, positions in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.qkv, self.out = nn.Linear(2, 8), nn.Linear(8, 24), nn.Linear(8, 1)
        self.register_buffer("places", torch.linspace(0, 1, 7).unsqueeze(1).expand(7, 8))

    def forward(self, x: Tensor) -> Tensor:
        """One head over seven places."""
        q, k, v = self.qkv(self.into(x) + self.places).chunk(3, -1)
        prediction: Tensor = self.out((torch.softmax(q @ k.mT / 3, -1) @ v).mean(1))
        return prediction


class Recurrent(nn.Module):
    """An LSTM, and a recurrent cell."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.cell, self.out = nn.LSTM(2, 4, batch_first=True), nn.GRUCell(4, 3), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The last state."""
        prediction: Tensor = self.out(self.cell(self.memory(x)[0][:, -1]))
        return prediction


def parametrised() -> nn.Module:
    """A weight that is computed from two others, beside a frozen batch norm without statistics."""
    return nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(3, 4)),
        nn.BatchNorm1d(4, track_running_stats=False).requires_grad_(False),
        nn.ParameterList([torch.zeros(2)])[:0] or nn.PReLU(),
        nn.Linear(4, 1),
    )


def numbers(*shape: int) -> Callable[[np.random.Generator], Array]:
    """Inputs of this shape."""
    return lambda draws: draws.normal(size=shape)


def tokens(draws: np.random.Generator) -> Array:
    """Inputs of token numbers."""
    return draws.integers(0, 11, size=(5, 4))


class Case(NamedTuple):
    """A model that is exported."""

    factory: str
    args: dict[str, Any]
    x: Callable[[np.random.Generator], Array]
    loss: str = "mse"


HERE = __name__
CASES = {
    "mlp": Case("streammeta.models:mlp", {"sizes": [3, 4, 1]}, numbers(5, 3)),
    "conv": Case(
        "streammeta.models:conv4",
        {"ways": 11, "channels": 2, "image_size": 16},
        numbers(5, 1, 16, 16),
        "cross_entropy",
    ),
    "shared": Case(f"{HERE}:Shared", {}, numbers(5, 3)),
    "kinds": Case(f"{HERE}:Kinds", {}, numbers(5, 3)),
    "tied": Case(f"{HERE}:Tied", {}, tokens, "cross_entropy"),
    "attention": Case(f"{HERE}:Attention", {}, numbers(5, 7, 2)),
    "recurrent": Case(f"{HERE}:Recurrent", {}, numbers(5, 7, 2)),
    "parametrised": Case(f"{HERE}:parametrised", {}, numbers(5, 3)),
}


def labels(case: Case, draws: np.random.Generator) -> Array:
    """Targets of five examples."""
    return draws.integers(0, 11, size=5) if case.loss == "cross_entropy" else draws.normal(size=(5, 1))


def learned(case: Case, dtype: str) -> tuple[Blueprint, Engine]:
    """The real engine after four events of two tasks."""
    config = Config.model_validate(
        {
            "model": {"factory": case.factory, "args": case.args, "loss": case.loss, "dtype": dtype},
            "algorithm": {"inner_lr": 0.05, "order": "first"},
            "outer": {"lr": 0.05},
        }
    )
    blueprint = build_blueprint(config)
    memories = Memories(nothing_stored, blueprint.network.initial.new_zeros(blueprint.learner.memory_size), 9)
    first = blueprint.learner.init(blueprint.network.initial)
    engine, draws = (
        Engine(blueprint.network, blueprint.steps, first, Progress(), memories),
        np.random.default_rng(1),
    )
    for task in ("a", "b", "a", "b"):
        sets = (case.x(draws), labels(case, draws), case.x(draws), labels(case, draws))
        learn(engine, TaskEvent(task, episode_of(*sets), 0))
    assert engine.progress.events == 4
    return blueprint, engine


def exported(blueprint: Blueprint, engine: Engine, folder: Path) -> Path:
    """The file that is exported of tasks a and b; written twice, it holds the same bytes."""
    constants = constants_of(blueprint.network.module)
    checkpoint = Checkpoint(blueprint.origin, engine.state, engine.progress, {0: 4}, {})
    rows = engine.memories.dirty().rows(engine.params_of)
    with closing(LmdbStore(folder / "lmdb")) as store:
        store.commit(pack(checkpoint), rows, pack_constants(constants))
        kept = unpack_constants(store.constants(), constants.hash)
        meta = store.load()
        assert meta is not None
        memory = {task: row.memory for task, row in rows.items() if row is not None}
        params_of = blueprint.learner.task_params
        content = export.Exported(unpack(meta), kept, ["a", "b"], memory.__getitem__, params_of)
        for name in ("one.safetensors", "two.safetensors"):
            export.write(folder / name, content)
    assert (folder / "one.safetensors").read_bytes() == (folder / "two.safetensors").read_bytes()
    return folder / "one.safetensors"


def assert_predicts_as(
    network: Network, engine: Engine, path: Path, factory: str, args: Mapping[str, Any], x: Tensor
) -> None:
    """Loaded strictly, by plain PyTorch and by `load_export`: the predictions of the state and both tasks."""
    found = load_file(path)
    own = {
        None: engine.state.params,
        "a": engine.memories.get("a").memory,
        "b": engine.memories.get("b").memory,
    }
    assert not torch.equal(own["a"], own["b"])
    predictions, tight = [], 1e-12 if network.dtype == torch.float64 else 1e-5
    for task, params in own.items():
        wanted = network.predict(params, x)
        prefix = "meta/" if task is None else f"task/{task}/"
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            plain = moved(load_callable(factory, "")(**args), network.dtype, network.device)
        plain.load_state_dict(
            {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)},
            strict=True,
        )
        for module in (plain, streammeta.load_export(path, factory, task)):
            torch.testing.assert_close(module(x).detach(), wanted.detach(), rtol=tight, atol=tight)
        predictions.append(wanted)
    assert not torch.equal(predictions[0], predictions[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_an_export_is_the_model(name: str, dtype: str, tmp_path: Path) -> None:
    """Loaded strictly, by plain PyTorch and by `load_export`: the predictions of the state."""
    case = CASES[name]
    blueprint, engine = learned(case, dtype)
    x = torch.from_numpy(blueprint.network.x_numbers(case.x(np.random.default_rng(2))))
    assert_predicts_as(
        blueprint.network, engine, exported(blueprint, engine, tmp_path), case.factory, case.args, x
    )
