"""`streammeta evaluate`: a state on the tasks that it takes, and on those that it does not."""

import json
from pathlib import Path

import pytest

from streammeta.config import load_config
from streammeta.runtime.assembly import build_brain, restore
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from tests.cli.conftest import Invoke


def state_of(directory: Path, *settings: str) -> Path:
    """A state directory with the first checkpoint of this configuration."""
    brain = build_brain(load_config(None, settings, {}))
    with StateDirectory(directory) as made:
        store = LmdbStore(made.lmdb_path)
        store.commit(pack(restore(brain, MemoryStore())), {})
        store.close()
    return directory


def test_scores_before_and_after(streammeta: Invoke, tmp_path: Path) -> None:
    """A sinusoid model takes sinusoids."""
    state = state_of(tmp_path, "model.args.sizes=[1, 4, 1]")
    done = streammeta("evaluate", "sinusoid", "--state", state, "--episodes", 3, "--output", "json")
    assert done.exit_code == 0, done.output
    assert {name.split(",")[0] for name in json.loads(done.stdout)} == {"random", "learned"}


@pytest.mark.parametrize("sizes", ["[3, 4, 1]", "[1, 4, 2]"])
def test_data_that_the_model_does_not_take_exits_65(sizes: str, streammeta: Invoke, tmp_path: Path) -> None:
    """One line with the model of the state and the shapes of the data, no traceback."""
    state = state_of(tmp_path, f"model.args.sizes={sizes}")
    refused = streammeta("evaluate", "sinusoid", "--state", state, "--episodes", 3, "--shots", 7)
    assert (refused.exit_code, refused.stdout) == (65, "")
    assert len(refused.stderr.splitlines()) == 1
    assert f"its model streammeta.models:mlp(sizes={sizes}) with loss mse" in refused.stderr
    assert "x [7, 1] and y [7, 1]" in refused.stderr
