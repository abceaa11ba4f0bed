"""`streammeta evaluate`: a state on the tasks that it takes, and on those that it does not."""

import json
from pathlib import Path

import pytest
from torch import nn

from streammeta.config import load_config
from streammeta.models.loading import load_callable
from streammeta.models.networks import BUILT_IN
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.state.checkpoint import pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.memory_store import MemoryStore
from tests.cli.conftest import Invoke


def state_of(directory: Path, *settings: str) -> Path:
    """A state directory with the first checkpoint of this configuration."""
    blueprint = build_blueprint(load_config(None, settings, {}))
    with StateDirectory(directory) as made:
        store = LmdbStore(made.lmdb_path)
        store.commit(pack(restore(blueprint, MemoryStore())), {})
        store.close()
    return directory


def test_scores_before_and_after(streammeta: Invoke, tmp_path: Path) -> None:
    """A sinusoid model takes sinusoids."""
    state = state_of(tmp_path, "model.args.sizes=[1, 4, 1]")
    done = streammeta("evaluate", "sinusoid", "--state", state, "--episodes", 3, "--format", "json")
    assert done.exit_code == 0, done.output
    assert {name.split(",")[0] for name in json.loads(done.stdout)} == {"random", "learned"}


def foreign(outputs: int = 1) -> nn.Module:
    """A user's factory."""
    return nn.Linear(1, outputs)


def test_code_that_a_state_names_is_run_on_word_alone(streammeta: Invoke, tmp_path: Path) -> None:
    """Exit 2 naming it, unless a configuration or the flag vouches for it; the scores are then the same."""
    settings = f'[model]\nfactory = "{__name__}:foreign"\n'
    (tmp_path / "c.toml").write_text(settings)
    state = state_of(tmp_path / "state", f"model.factory={__name__}:foreign")
    asked = ("evaluate", "sinusoid", "--state", state, "--episodes", 3, "--format", "json")
    refused = streammeta(*asked)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "foreign" in refused.stderr
    assert "--trust-model" in refused.stderr
    trusted = streammeta(*asked, "--trust-model")
    vouched = streammeta(*asked, "--config", tmp_path / "c.toml")
    assert (trusted.exit_code, vouched.exit_code) == (0, 0), trusted.output + vouched.output
    assert trusted.stdout == vouched.stdout


@pytest.mark.parametrize("name", ["math.gcd", "nn.Linear", "pairwise"])
def test_what_streammeta_models_imports_is_no_built_in(name: str) -> None:
    """A state could else name anything that can be reached from there."""
    assert f"streammeta.models:{name}" not in BUILT_IN
    assert all(load_callable(factory, "")() is not None for factory in BUILT_IN)


def test_a_configuration_of_another_model_is_refused(streammeta: Invoke, tmp_path: Path) -> None:
    """Exit 65 with the difference."""
    (tmp_path / "c.toml").write_text("[model]\nargs = { sizes = [1, 5, 1] }\n")
    state = state_of(tmp_path / "state", "model.args.sizes=[1, 4, 1]")
    refused = streammeta("evaluate", "sinusoid", "--state", state, "--config", tmp_path / "c.toml")
    assert refused.exit_code == 65
    assert "model.args.sizes: the state was made with [1, 4, 1]" in refused.stderr


@pytest.mark.parametrize("sizes", ["[3, 4, 1]", "[1, 4, 2]"])
def test_data_that_the_model_does_not_take_exits_65(sizes: str, streammeta: Invoke, tmp_path: Path) -> None:
    """One line with the model of the state and the shapes of the data, no traceback."""
    state = state_of(tmp_path, f"model.args.sizes={sizes}")
    refused = streammeta("evaluate", "sinusoid", "--state", state, "--episodes", 3, "--shots", 7)
    assert (refused.exit_code, refused.stdout) == (65, "")
    assert len(refused.stderr.splitlines()) == 1
    assert f"its model streammeta.models:mlp(sizes={sizes}) with loss mse" in refused.stderr
    assert "x [7, 1] and y [7, 1]" in refused.stderr
