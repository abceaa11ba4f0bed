"""Exports: names, shapes and metadata of the contract, and files that are whole or absent."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file

from streammeta import export
from streammeta.checkpoint import Origin
from streammeta.errors import StateError, StreammetaError
from streammeta.events import Array
from tests.states import LAYOUT, checkpoint_of, row_of


def test_meta_parameters_by_name() -> None:
    """The flat vector in the model's names and shapes, same bits."""
    found = export.tensors(checkpoint_of(), [])
    assert {name: array.tolist() for name, array in found.items()} == {
        "meta/0.weight": [[5.0, 5.25]],
        "meta/0.bias": [5.5],
    }
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_memories_by_task_and_name() -> None:
    """Any task id, slashes and Unicode too."""
    found = export.tensors(checkpoint_of(), [("a/1", row_of(4).memory), ("ünï", row_of(6).memory)])
    assert found["task/a/1/0.weight"].tolist() == [[4.0, 4.0]]
    assert found["task/ünï/0.bias"].tolist() == [6.0]
    assert len(found) == 6


def test_memories_are_read_in_the_models_dtype() -> None:
    """Eight bytes a number in a float64 state."""
    origin = Origin({"algorithm": {"name": "moml"}}, "", LAYOUT, "float64")
    state = checkpoint_of().state._replace(params=torch.tensor([1 / 3, 2.0, 3.0], dtype=torch.float64))
    raw = np.array([1 / 3, 1e-300, -0.0]).tobytes()
    found = export.tensors(checkpoint_of(origin=origin, state=state), [("t", raw)])
    assert found["meta/0.weight"].tolist() == [[1 / 3, 2.0]]
    assert found["task/t/0.weight"].tolist() == [[1 / 3, 1e-300]]


def test_an_algorithm_without_memory_says_so() -> None:
    """The algorithm is named, and what to leave out."""
    origin = replace(checkpoint_of().origin, fit={"algorithm": {"name": "maml"}})
    with pytest.raises(StateError, match="algorithm maml keeps no task memory; export without"):
        export.tensors(checkpoint_of(origin=origin), [("a", b"")])


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
    back = load_file(path)
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
    assert set(load_file(path)) == {"a", "b"}


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
