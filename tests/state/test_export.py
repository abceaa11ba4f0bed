"""Exports: a state in other programs' numbers, names and metadata of the contract, files whole or absent."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file

from streammeta import __version__
from streammeta.algorithms.base import State
from streammeta.cli import main
from streammeta.config import Config, load_config
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array, TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.models.constants import Constants, constants_of, pack_constants
from streammeta.models.network import unflatten
from streammeta.models.tensor_file import form_of, pieces
from streammeta.runtime.blueprint import Blueprint, build_blueprint, learner_of
from streammeta.state import export
from streammeta.state.checkpoint import Checkpoint, Origin, pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from streammeta.state.store import TaskRow
from tests.learning import learn, nothing_stored
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


def a_state(folder: Path, config: Config) -> tuple[Blueprint, State, dict[str, TaskRow]]:
    """A state directory after the events of `TASKS`, and what is in it."""
    blueprint = build_blueprint(config)
    empty = blueprint.network.initial.new_zeros(blueprint.learner.memory_size)
    engine = Engine(
        blueprint.network,
        blueprint.steps,
        blueprint.learner.init(blueprint.network.initial),
        Progress(),
        Memories(nothing_stored, empty, 100),
    )
    for index, task in enumerate(TASKS):
        learn(engine, event(task, index))
    store = LmdbStore(StateDirectory(folder).lmdb_path)
    rows = engine.memories.dirty().rows(engine.params_of)
    constants = constants_of(blueprint.network.module)
    origin = replace(blueprint.origin, constants=constants.hash)
    checkpoint = Checkpoint(origin, engine.state, engine.progress, positions={0: 7}, refused={})
    store.commit(pack(checkpoint), rows, pack_constants(constants))
    store.close()
    return blueprint, engine.state, {task: row for task, row in rows.items() if row is not None}


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
    blueprint, state, rows = a_state(tmp_path, chosen(name))
    found = exported(tmp_path, "--all-tasks")
    assert {key.split("/")[1] for key in found if key.startswith("task/")} == set(TASKS)
    assert blueprint.learner.task_params
    for task, row in rows.items():
        memory = torch.frombuffer(bytearray(row.memory), dtype=torch.float32)
        own = blueprint.learner.task_params(state, memory)
        assert not torch.equal(own, state.params)
        assert row.stats.memory_norm == pytest.approx(own.norm().item())
        for parameter, value in unflatten(blueprint.network.layout, own).items():
            assert torch.equal(found[f"task/{task}/{parameter}"], value)
    for parameter, value in unflatten(blueprint.network.layout, state.params).items():
        assert torch.equal(found[f"meta/{parameter}"], value)


def test_the_parameters_of_v2_are_not_its_memory(tmp_path: Path) -> None:
    """A task that was absent has moved with the average; a residual and a time are no parameters."""
    blueprint, state, rows = a_state(tmp_path, chosen("moml_v2"))
    found = torch.cat([t.reshape(-1) for t in (exported(tmp_path, "--task", "b")).values()])
    assert found.numel() == 2 * blueprint.network.dimension
    memory = torch.frombuffer(bytearray(rows["b"].memory), dtype=torch.float32)
    average, residual = state.slots["average"], memory[: blueprint.network.dimension]
    absent = len(TASKS) - 1 - max(i for i, task in enumerate(TASKS) if task == "b")
    expected = average + 0.9**absent * residual
    own = blueprint.learner.task_params(state, memory) if blueprint.learner.task_params else average
    torch.testing.assert_close(own, expected, rtol=1e-5, atol=1e-6)
    assert absent == 2


def test_no_model_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a state whose model code is not at hand can be exported; none that it names is run."""
    blueprint, _, _ = a_state(tmp_path, chosen("moml"))
    monkeypatch.setattr("streammeta.models.loading.load_callable", lambda *_: pytest.fail("code was run"))
    found = exported(tmp_path, "--all-tasks")
    assert len(found) == 4 * len(blueprint.network.layout)


@pytest.mark.parametrize("name", ["maml", "local_moml"])
def test_a_learner_without_memory_has_no_tasks_to_export(name: str, tmp_path: Path) -> None:
    """The refusal names the algorithm and the remedy."""
    a_state(tmp_path, chosen(name))
    given = ["export", "--state", str(tmp_path), "--output", str(tmp_path / "x"), "--task", "a"]
    result = CliRunner().invoke(main, given)
    assert result.exit_code == 65
    assert f"algorithm {name} keeps no parameters of a task; export without tasks" in result.output


@pytest.mark.parametrize("name", ["moml_v2", "anil", "memory_reduced", "bspiderboost", "per_fedavg"])
def test_the_learner_is_rebuilt_without_the_model(name: str, tmp_path: Path) -> None:
    """The settings in the checkpoint make the learner that wrote it, with its inner learning rate."""
    blueprint, state, _ = a_state(tmp_path, chosen(name))
    again = learner_of(Checkpoint(blueprint.origin, state, Progress(), positions={}, refused={}))
    assert again.memory_size == blueprint.learner.memory_size
    assert (again.task_params is None) == (blueprint.learner.task_params is None)
    assert again.init(blueprint.network.initial).inner_lr == state.inner_lr


def test_heads_of_tasks_are_found_without_the_model(tmp_path: Path) -> None:
    """A warm start keeps heads: each export of a task is the body of w and the head of the task."""
    config = load_config(
        None,
        [
            "algorithm.name=memory_reduced",
            "algorithm.warm_start=true",
            "model.args.sizes=[1, 3, 1]",
            "outer.lr=0.05",
        ],
        {},
    )
    a_state(tmp_path, config)
    found = exported(tmp_path, "--task", "b")
    assert torch.equal(found["task/b/0.weight"], found["meta/0.weight"])
    assert not torch.equal(found["task/b/2.weight"], found["meta/2.weight"])


@pytest.mark.parametrize(
    "fit", [{}, {"algorithm": {"name": "nobody"}}, {"algorithm": {"name": "moml", "beta": "x"}}]
)
def test_a_forged_state_is_refused(fit: dict[str, dict[str, object]]) -> None:
    """Settings that no configuration takes: a word, no traceback."""
    with pytest.raises(StateError, match="settings in the state are damaged"):
        learner_of(checkpoint_of(origin=Origin(fit, "", LAYOUT, "float32")))


def of_memory(_: State, memory: torch.Tensor) -> torch.Tensor:
    """The memory holds the parameters as they are."""
    return memory


def exported_of(checkpoint: Checkpoint, memories: Mapping[str, bytes]) -> export.Exported:
    """An export of these tasks, whose memories are their parameters."""
    return export.Exported(checkpoint, Constants(), [*memories], memories.__getitem__, of_memory)


def test_meta_parameters_by_name() -> None:
    """The flat vector in the model's names and shapes, same bits."""
    found = exported_of(checkpoint_of(), {}).meta()
    assert {name: array.tolist() for name, array in found.items()} == {
        "0.weight": [[5.0, 5.25]],
        "0.bias": [5.5],
    }
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_memories_by_task_and_name(tmp_path: Path) -> None:
    """Any task id: with slashes, one that begins another's, Unicode, quotes, controls."""
    ids = ("a", "a/1", "ünï", 'q"\\', "line\nfeed", "__metadata__", "0.weight")
    memories = {task: row_of(number).memory for number, task in enumerate(ids)}
    export.write(tmp_path / "f", exported_of(checkpoint_of(), memories))
    found = load_file(tmp_path / "f")
    assert len(found) == 2 + 2 * len(ids)
    for number, task in enumerate(ids):
        assert found[f"task/{task}/0.weight"].tolist() == [[number, number]]
        assert found[f"task/{task}/0.bias"].tolist() == [number]


def test_memories_are_read_in_the_models_dtype() -> None:
    """Eight bytes a number in a float64 state."""
    origin = Origin({"algorithm": {"name": "moml"}}, "", LAYOUT, "float64")
    state = checkpoint_of().state._replace(params=torch.tensor([1 / 3, 2.0, 3.0], dtype=torch.float64))
    raw = np.array([1 / 3, 1e-300, -0.0]).tobytes()
    found = exported_of(checkpoint_of(origin=origin, state=state), {"t": raw})
    assert found.meta()["0.weight"].tolist() == [[1 / 3, 2.0]]
    assert found.task("t")["0.weight"].tolist() == [[1 / 3, 1e-300]]


def test_an_algorithm_without_memory_says_so(tmp_path: Path) -> None:
    """The algorithm is named, and what to leave out; nothing is written."""
    origin = replace(checkpoint_of().origin, fit={"algorithm": {"name": "maml"}})
    with pytest.raises(StateError, match="algorithm maml keeps no parameters of a task; export without"):
        export.write(tmp_path / "f", export.Exported(checkpoint_of(origin=origin), Constants(), ["a"]))
    assert [*tmp_path.iterdir()] == []


def test_a_vector_that_does_not_fit_its_names_is_damage() -> None:
    """Told with both sizes."""
    origin = replace(checkpoint_of().origin, layout=LAYOUT[:1])
    with pytest.raises(StateError, match="3 numbers where its parameters have 2"):
        exported_of(checkpoint_of(origin=origin), {}).meta()


def test_metadata_is_that_of_the_contract() -> None:
    """Text values; offsets are JSON, partition -> next offset, sorted."""
    fit = {
        "algorithm": {"name": "moml", "beta": 0.3},
        "model": {
            "factory": "m:f",
            "args": {"size": 3, "api_key": "hush"},
            "loss": "mse",
            "seed": 4,
            "dtype": "float32",
        },
    }
    origin = replace(checkpoint_of().origin, fit=fit)
    about = export.metadata(checkpoint_of(origin=origin), Constants())
    assert about == {
        "step": "5",
        "algorithm": "moml",
        "algorithm_settings": '{"beta": 0.3, "inner_lr": 0.1, "name": "moml"}',
        "buffers": "{}",
        "config_hash": "ab" * 32,
        "dtype": "float32",
        "inner_lr": "0.1",
        "loss": "mse",
        "model": '{"args": {"api_key": "***", "size": 3}, "factory": "m:f", "seed": 4}',
        "offsets": '{"0": 5, "2": 7, "10": 1}',
        "streammeta": __version__,
        "torch": torch.__version__,
        "note": export.LEARNED_ALONE,
    }
    whole = replace(origin, constants=Constants().hash)
    assert "note" not in export.metadata(checkpoint_of(origin=whole), Constants())
    assert json.loads(about["offsets"]) == {"0": 5, "2": 7, "10": 1}


def test_the_same_state_is_the_same_bytes(tmp_path: Path) -> None:
    """Written twice, and by processes of other hash seeds; the tasks named in any order."""
    a_state(tmp_path / "state", chosen("moml"))
    written = []
    for seed, options in enumerate((["--all-tasks"], ["--task", "c", "--task", "b", "--task", "a"])):
        output = tmp_path / str(seed)
        command = [sys.executable, "-m", "streammeta", "export", "--state", str(tmp_path / "state")]
        subprocess.run(
            [*command, "--output", str(output), *options],
            check=True,
            capture_output=True,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": ":".join(sys.path)},
        )
        written.append(output.read_bytes())
    assert written[0] == written[1]


def arrays() -> dict[str, Array]:
    """Numbers of every size, a view of a larger array, no numbers at all, and one."""
    return {
        "flags": np.array([True, False, True]),
        "a": np.arange(3.0),
        "view": np.arange(12.0, dtype=np.float32).reshape(3, 4)[:, 1],
        "transposed": np.arange(6, dtype=np.int16).reshape(2, 3).T,
        "none": np.zeros((0, 3), np.float32),
        "one": np.array(7, np.int64),
        "complex": np.array([1 + 2j], np.complex64),
    }


def test_a_file_reads_back(tmp_path: Path) -> None:
    """By the library, strict about holes and order; each tensor lies where it can be read in place."""
    path, made = tmp_path / "f", arrays()
    forms = {name: form_of(array) for name, array in made.items()}
    path.write_bytes(b"".join(pieces(forms, made.__getitem__, {"b": "2", "a": "1"})))
    for name, tensor in load_file(path).items():
        np.testing.assert_array_equal(tensor.numpy(), made[name])
        assert tensor.numpy().dtype == made[name].dtype
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"a": "1", "b": "2"}
        assert set(file.keys()) == set(made)
    raw = path.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    assert all(header[name]["data_offsets"][0] % array.itemsize == 0 for name, array in made.items())


def test_a_file_that_was_there_is_replaced(tmp_path: Path) -> None:
    """Whole: never a mix of both, and nothing else is left in the folder."""
    path = tmp_path / "out.safetensors"
    path.write_bytes(b"x" * 100_000)
    export.write(path, exported_of(checkpoint_of(), {}))
    assert set(load_file(path)) == {"meta/0.weight", "meta/0.bias"}
    assert [*tmp_path.iterdir()] == [path]


def test_too_many_names_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that no reader would take is not written."""
    monkeypatch.setattr("streammeta.models.tensor_file.LONGEST_HEADER_BYTES", 100)
    with pytest.raises(StreammetaError, match="write fewer tasks to a file"):
        export.write(tmp_path / "f", exported_of(checkpoint_of(), {}))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("place", ["absent/out.safetensors", "file/out.safetensors", "folder", "."])
def test_a_place_that_cannot_be_written_is_named(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No such folder, a file for a folder, a folder for a file: told, and nothing is left behind."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StreammetaError, match=rf"^--output {place}: cannot be written .*name another file"):
        export.write(Path(place), exported_of(checkpoint_of(), {}))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "mine"
