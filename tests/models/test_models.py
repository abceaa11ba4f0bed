"""Every network of the table: the engine of the daemon learns what plain PyTorch learns, to 1e-9."""

from pathlib import Path

import numpy as np
import pytest
import torch

from streammeta.config import load_config
from streammeta.events import Array, TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.learner.executors.chunk import NUMBERS
from streammeta.runtime.blueprint import Blueprint, build_blueprint, restore
from streammeta.state.memories import Memories
from streammeta.state.memory_store import MemoryStore
from tests.learning import learn
from tests.models.plain import LOSSES, Plain, Set
from tests.models.table import CASES, INPUTS, ONCE_WRONG, Case, build, case_of
from tests.state.test_exported_models import assert_predicts_as, exported

SETTINGS = ["algorithm.inner_lr=0.05", "algorithm.beta=0.3", "outer.lr=0.02", "outer.momentum=0.5"]
SEED = 5
FACTORY = "tests.models.table:build"
EXPORTED = {"embedding-bag": "first"}
"""Of every network one way is exported: second order, but for these."""
VISITS = {1: ["a", "b", "a"], 2: ["ab", "ba"]}
"""The tasks of each iteration, by their number."""

FIRST_TOO = {
    "linear",
    "batch-norm",
    "conv2d",
    "embedding",
    "embedding-bag",
    "tied",
    "attention",
    "encoder",
} | {*("scaled-4d", "lstm", "gru-cell", "slopes", "fills-zeros", "fills-view", "TwoStates", "Recurrent")}
"""Networks that are also learned in the first order."""

WAYS = [
    (name, order, tasks)
    for name in (*CASES, *ONCE_WRONG)
    for order, tasks in (("second", 1), ("second", 2), ("first", 1))
    # A limit: with one task PyTorch's functionalisation may fail at the derivative of irfft: refused then
    if not (name == "frequencies" and tasks == 1)
    # PyTorch has no second derivative of it
    if not (name == "embedding-bag" and order == "second")
    # What is computed in the first order is a part of the second: some ways of them stand for all
    if order == "second" or name in FIRST_TOO
]


def engine_of(name: str, loss: str, order: str, dtype: str = "float64") -> tuple[Blueprint, Engine]:
    """The engine that the daemon would run."""
    settings = [f"model.factory={FACTORY}", f"model.args.name={name}", f"model.loss={loss}"]
    settings += [f"model.dtype={dtype}", f"model.seed={SEED}", f"algorithm.order={order}", *SETTINGS]
    blueprint, store = build_blueprint(load_config(None, settings, {})), MemoryStore()
    begun = restore(blueprint, store)
    empty = blueprint.network.initial.new_zeros(blueprint.learner.memory_size)
    memories = Memories(store.get_many, empty, 100)
    return blueprint, Engine(blueprint.network, blueprint.steps, begun.state, begun.progress, memories)


def plain_of(name: str, order: str) -> Plain:
    """The same in plain PyTorch."""
    torch.manual_seed(SEED)
    return Plain(
        build(name).double(),
        LOSSES[case_of(name).loss],
        order == "second",
        alpha=0.05,
        beta=0.3,
        eta=0.02,
        momentum=0.5,
    )


def draw(case: Case, draws: np.random.Generator, examples: int) -> tuple[Array, Array]:
    """Examples for a network."""
    shape = (examples, *INPUTS[case.inputs])
    x = draws.integers(0, 11, shape) if case.inputs == "tokens" else draws.normal(size=shape)
    match case.loss:
        case "cross_entropy":
            return x, draws.integers(0, case.outputs, examples)
        case "bce":
            return x, draws.uniform(size=(examples, case.outputs))
    return x, draws.normal(size=(examples, case.outputs))


def tensors(examples: tuple[Array, Array]) -> Set:
    """The same numbers for PyTorch."""
    return torch.from_numpy(examples[0]), torch.from_numpy(examples[1])


@pytest.mark.parametrize(("name", "order", "tasks"), WAYS)
def test_the_engine_learns_what_plain_pytorch_learns(
    name: str, order: str, tasks: int, tmp_path: Path
) -> None:
    """Weights, memories, and all that is told of returning tasks, under momentum; and what is exported."""
    case = case_of(name)
    (blueprint, engine), plain = engine_of(name, case.loss, order), plain_of(name, order)
    first, draws = engine.state.params, np.random.default_rng(3)
    torch.testing.assert_close(plain.w, first, rtol=0, atol=0)
    for visit in VISITS[tasks]:
        given = [(task, draw(case, draws, 4), draw(case, draws, 3)) for task in visit]
        events = [TaskEvent(task, episode_of(*support, *query), 0) for task, support, query in given]
        told, gradient_norm, update_norm = plain.step([(t, tensors(s), tensors(q)) for t, s, q in given])
        for row, expected in zip(learn(engine, *events).numbers.tolist(), told, strict=True):
            found = dict(zip(NUMBERS, row, strict=True))
            judged = [*row[1:4], found["tracking_error"]]
            assert judged == pytest.approx([*expected], rel=1e-9, abs=1e-9, nan_ok=True)
            assert found["gradient_norm"] == pytest.approx(gradient_norm, rel=1e-9)
            assert found["update_norm"] == pytest.approx(update_norm, rel=1e-9)
        torch.testing.assert_close(engine.state.params, plain.w, rtol=0, atol=1e-9)
    assert (engine.state.params - first).abs().max() > 1e-4
    for task, memory in plain.memories.items():
        torch.testing.assert_close(engine.memories.get(task).memory, memory, rtol=0, atol=1e-9)
    if (tasks, order) == (1, EXPORTED.get(name, "second")):
        x = torch.from_numpy(draw(case, draws, 3)[0])
        path = exported(blueprint, engine, tmp_path)
        assert_predicts_as(blueprint.network, engine, path, FACTORY, {"name": name}, x)


def test_a_recurrent_layer_is_learned_in_float32() -> None:
    """There PyTorch has a fused LSTM without the derivatives that are needed."""
    case = case_of("lstm")
    (_, engine), plain = engine_of("lstm", case.loss, "second", "float32"), plain_of("lstm", "second")
    first, draws = engine.state.params, np.random.default_rng(3)
    support, query = draw(case, draws, 4), draw(case, draws, 3)
    learn(engine, TaskEvent("a", episode_of(*support, *query), 0))
    plain.step([("a", tensors(support), tensors(query))])
    torch.testing.assert_close(engine.state.params.double(), plain.w, rtol=0, atol=1e-6)
    assert (engine.state.params - first).abs().max() > 1e-3
