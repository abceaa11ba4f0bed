"""Exports: a state in other programs' numbers, names and metadata of the contract, files whole or absent."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file

from streammeta.algorithms.base import State
from streammeta.cli import main
from streammeta.config import Config, load_config
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array, TaskEvent, episode_of
from streammeta.learner.engine import Engine, Progress
from streammeta.models.network import unflatten
from streammeta.runtime.assembly import Brain, brain_of, build_brain
from streammeta.state import export
from streammeta.state.checkpoint import Checkpoint, Origin, pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memories import Memories
from streammeta.state.store import TaskRow
from tests.states import LAYOUT, checkpoint_of, row_of

TASKS = ("a", "b", "a", "a", "b", "c", "a")


def event(task: str, index: int) -> TaskEvent:
    """An event of ten and five examples."""
    draws = torch.Generator().manual_seed(index)
    x = torch.rand(15, 1, generator=draws)
    y = torch.sin(3 * x) * (1 + TASKS.index(task))
    return TaskEvent(task, episode_of(*(t.numpy() for t in (x[:10], y[:10], x[10:], y[10:]))), time_ms=index)


def chosen(name: str) -> Config:
    """A small model under an algorithm of this name."""
    overrides = [f"algorithm.name={name}", "model.args.sizes=[1, 3, 1]", "outer.lr=0.05", "events.batch=2"]
    return load_config(None, [*overrides, "algorithm.inner_lr=0.2"], {})


def a_state(folder: Path, config: Config) -> tuple[Brain, State, dict[str, TaskRow]]:
    """A state directory after the events of `TASKS`, and what is in it."""
    brain = build_brain(config)
    empty = brain.network.initial.new_zeros(brain.learner.memory_size)
    engine = Engine(
        brain.network,
        brain.steps,
        brain.learner.init(brain.network.initial),
        Progress(),
        Memories(lambda _: None, empty, 100),
    )
    for index, task in enumerate(TASKS):
        one = [event(task, index)]
        engine.keep(engine.step(one, engine.load(one)))
    store = LmdbStore(StateDirectory(folder).lmdb_path)
    rows = {task: row for task, row in engine.dirty().items() if row is not None}
    checkpoint = Checkpoint(brain.origin, engine.state, engine.progress, positions={0: 7}, refused={})
    store.commit(pack(checkpoint), rows)
    store.close()
    return brain, engine.state, rows


def exported(folder: Path, *arguments: str) -> dict[str, torch.Tensor]:
    """What `export` wrote."""
    output = folder / "out.safetensors"
    given = ["export", "--state", str(folder), "--output", str(output), *arguments]
    result = CliRunner().invoke(main, given, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return load_file(output)


@pytest.mark.parametrize("name", ["moml", "moml_v2", "nasa", "independent"])
def test_a_task_is_exported_as_its_parameters(name: str, tmp_path: Path) -> None:
    """Whatever a row of memory holds, d parameters by name come out, and `memory_norm` is their norm."""
    brain, state, rows = a_state(tmp_path, chosen(name))
    found = exported(tmp_path, "--all-tasks")
    assert {key.split("/")[1] for key in found if key.startswith("task/")} == set(TASKS)
    assert brain.learner.task_params
    for task, row in rows.items():
        memory = torch.frombuffer(bytearray(row.memory), dtype=torch.float32)
        own = brain.learner.task_params(state, memory)
        assert not torch.equal(own, state.params)
        assert row.stats.memory_norm == pytest.approx(own.norm().item())
        for parameter, value in unflatten(brain.network.layout, own).items():
            assert torch.equal(found[f"task/{task}/{parameter}"], value)
    for parameter, value in unflatten(brain.network.layout, state.params).items():
        assert torch.equal(found[f"meta/{parameter}"], value)


def test_the_parameters_of_v2_are_not_its_memory(tmp_path: Path) -> None:
    """A task that was absent has moved with the average; a residual and a time are no parameters."""
    brain, state, rows = a_state(tmp_path, chosen("moml_v2"))
    found = torch.cat([t.reshape(-1) for t in (exported(tmp_path, "--task", "b")).values()])
    assert found.numel() == 2 * brain.network.dimension
    memory = torch.frombuffer(bytearray(rows["b"].memory), dtype=torch.float32)
    average, residual = state.slots["average"], memory[: brain.network.dimension]
    absent = len(TASKS) - 1 - max(i for i, task in enumerate(TASKS) if task == "b")
    expected = average + 0.9**absent * residual
    own = brain.learner.task_params(state, memory) if brain.learner.task_params else average
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    assert absent == 2


def test_without_tasks_the_model_is_not_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The meta-parameters of a state whose model code is not at hand can be exported."""
    brain, _, _ = a_state(tmp_path, chosen("moml"))
    monkeypatch.setattr("streammeta.cli.state.brain_of", lambda _: pytest.fail("the model was built"))
    assert exported(tmp_path).keys() == {f"meta/{parameter.name}" for parameter in brain.network.layout}


@pytest.mark.parametrize("name", ["maml", "local_moml"])
def test_a_learner_without_memory_has_no_tasks_to_export(name: str, tmp_path: Path) -> None:
    """The refusal names the algorithm and the remedy."""
    a_state(tmp_path, chosen(name))
    given = ["export", "--state", str(tmp_path), "--output", str(tmp_path / "x"), "--task", "a"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 65
    assert f"algorithm {name} keeps no parameters of a task; export without tasks" in result.output


@pytest.mark.parametrize("name", ["moml_v2", "anil", "bspiderboost", "per_fedavg"])
def test_the_learner_is_rebuilt_from_the_state(name: str, tmp_path: Path) -> None:
    """The settings in the checkpoint make the learner that wrote it, with its inner learning rate."""
    brain, state, _ = a_state(tmp_path, chosen(name))
    again = brain_of(Checkpoint(brain.origin, state, Progress(), positions={}, refused={}))
    assert again.origin == brain.origin
    assert again.learner.memory_size == brain.learner.memory_size
    assert again.learner.init(again.network.initial).inner_lr == state.inner_lr


def of_memory(_: State, memory: torch.Tensor) -> torch.Tensor:
    """The memory holds the parameters as they are."""
    return memory


def test_meta_parameters_by_name() -> None:
    """The flat vector in the model's names and shapes, same bits."""
    found = export.meta_tensors(checkpoint_of())
    assert {name: array.tolist() for name, array in found.items()} == {
        "meta/0.weight": [[5.0, 5.25]],
        "meta/0.bias": [5.5],
    }
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_memories_by_task_and_name() -> None:
    """Any task id, slashes and Unicode too."""
    memories = [("a/1", row_of(4).memory), ("ünï", row_of(6).memory)]
    found = export.task_tensors(checkpoint_of(), memories, of_memory)
    assert found["task/a/1/0.weight"].tolist() == [[4.0, 4.0]]
    assert found["task/ünï/0.bias"].tolist() == [6.0]
    assert len(found) == 4


def test_memories_are_read_in_the_models_dtype() -> None:
    """Eight bytes a number in a float64 state."""
    origin = Origin({"algorithm": {"name": "moml"}}, "", LAYOUT, "float64")
    state = checkpoint_of().state._replace(params=torch.tensor([1 / 3, 2.0, 3.0], dtype=torch.float64))
    raw = np.array([1 / 3, 1e-300, -0.0]).tobytes()
    checkpoint = checkpoint_of(origin=origin, state=state)
    assert export.meta_tensors(checkpoint)["meta/0.weight"].tolist() == [[1 / 3, 2.0]]
    found = export.task_tensors(checkpoint, [("t", raw)], of_memory)
    assert found["task/t/0.weight"].tolist() == [[1 / 3, 1e-300]]


def test_an_algorithm_without_memory_says_so() -> None:
    """The algorithm is named, and what to leave out."""
    origin = replace(checkpoint_of().origin, fit={"algorithm": {"name": "maml"}})
    with pytest.raises(StateError, match="algorithm maml keeps no parameters of a task; export without"):
        export.task_tensors(checkpoint_of(origin=origin), [("a", b"")], None)


def test_metadata_is_that_of_the_contract() -> None:
    """Text values; offsets are JSON, partition -> next offset, sorted."""
    about = export.metadata(checkpoint_of())
    assert about == {
        "step": "5",
        "algorithm": "moml",
        "config_hash": "ab" * 32,
        "offsets": '{"0": 5, "2": 7, "10": 1}',
    }
    assert json.loads(about["offsets"]) == {"0": 5, "2": 7, "10": 1}


def arrays() -> dict[str, Array]:
    """An array, and a view of a larger one."""
    return {"a": np.arange(3.0), "b": np.arange(12.0, dtype=np.float32).reshape(3, 4)[:, 1]}


def test_a_file_reads_back(tmp_path: Path) -> None:
    """With its metadata, and nothing else is left in the folder."""
    path = tmp_path / "out.safetensors"
    export.write(path, arrays(), {"step": "5"})
    back = load_arrays(path)
    assert back["a"].tolist() == [0.0, 1.0, 2.0]
    assert back["b"].tolist() == [1.0, 5.0, 9.0]
    with safe_open(path, "numpy") as file:
        assert file.metadata() == {"step": "5"}
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_was_there_is_replaced(tmp_path: Path) -> None:
    """Whole: never a mix of both."""
    path = tmp_path / "out.safetensors"
    path.write_bytes(b"x" * 100_000)
    export.write(path, arrays(), {})
    assert set(load_arrays(path)) == {"a", "b"}


@pytest.mark.parametrize("place", ["absent/out.safetensors", "file/out.safetensors", "folder", "."])
def test_a_place_that_cannot_be_written_is_named(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such folder, a file for a folder, a folder for a file: told, and nothing is left behind."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StreammetaError, match=rf"^--output {place}: cannot be written .*name another file"):
        export.write(Path(place), arrays(), {})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"
