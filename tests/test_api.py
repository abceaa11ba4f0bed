"""`streammeta.load_export`: what it takes, and what it refuses in words."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import streammeta
from streammeta import models
from streammeta.algorithms.base import State
from streammeta.config import Config
from streammeta.errors import StreammetaError
from streammeta.models.constants import constants_of
from streammeta.runtime.blueprint import build_blueprint
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.export import Exported, write
from streammeta.state.progress import Progress


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An export of an MLP 2-3-1 with one task, `a/1`."""
    settings = {"model": {"args": {"sizes": [2, 3, 1]}}}
    return exported(tmp_path / "f", Config.model_validate(settings))


def own(_: State, memory: torch.Tensor) -> torch.Tensor:
    """The memory."""
    return memory


def exported(path: Path, config: Config) -> Path:
    """The file of a first state, and of a task at zero."""
    blueprint = build_blueprint(config)
    checkpoint = Checkpoint(
        blueprint.origin, blueprint.learner.init(blueprint.network.initial), Progress(), {}, {}
    )
    zeros = torch.zeros_like(blueprint.network.initial).numpy().tobytes()
    write(path, Exported(checkpoint, constants_of(blueprint.network.module), ["a/1"], lambda _: zeros, own))
    return path


def test_factories(path: Path) -> None:
    """By path or as a callable, with the file's arguments; or one that takes none."""
    x = torch.ones(1, 2)
    wanted = streammeta.load_export(path, "streammeta.models:mlp")(x)
    for factory in (models.mlp, lambda: models.mlp([2, 3, 1])):
        assert torch.equal(streammeta.load_export(str(path), factory)(x), wanted)
        assert streammeta.load_export(path, factory, task="a/1")(x).item() == 0


@pytest.mark.parametrize("task", ["a", "1", "", "b"])
def test_a_task_that_is_not_there(task: str, path: Path) -> None:
    """Named, with the command that writes it."""
    with pytest.raises(StreammetaError, match=f"holds no task '{task}'; write it with: streammeta export"):
        streammeta.load_export(path, models.mlp, task)


def test_another_model(path: Path) -> None:
    """The names that differ are told."""
    with pytest.raises(StreammetaError, match=r"(?s)is not of this model: .*Missing key.*weight"):
        streammeta.load_export(path, lambda: nn.Linear(2, 1))


def test_other_files(tmp_path: Path) -> None:
    """None, a text, tensors of something else."""
    (tmp_path / "text").write_text("no tensors at all")
    save_file({"meta/a": torch.ones(1)}, tmp_path / "tensors")
    for name, said in (
        ("absent", "No such file"),
        ("text", "no safetensors file"),
        ("tensors", "was not written by streammeta export"),
    ):
        with pytest.raises(StreammetaError, match=said):
            streammeta.load_export(tmp_path / name, models.mlp)


def locked(api_key: str = "") -> nn.Module:
    """A factory that takes a secret."""
    return nn.Linear(1 + len(api_key), 1)


def test_a_secret_argument_is_not_in_the_file(tmp_path: Path) -> None:
    """So the factory must bring it."""
    settings = {"model": {"factory": f"{__name__}:locked", "args": {"api_key": "hush"}}}
    path = exported(tmp_path / "f", Config.model_validate(settings))
    assert b"hush" not in path.read_bytes()
    with pytest.raises(StreammetaError, match="some are secret; give a factory without arguments"):
        streammeta.load_export(path, locked)
    assert streammeta.load_export(path, lambda: locked("hush"))(torch.ones(1, 5)).shape == (1, 1)


FILL = [1.0]


def passing() -> nn.Module:
    """A buffer that no state_dict holds."""
    module = nn.Linear(1, 1)
    module.register_buffer("unseen", torch.tensor(FILL), persistent=False)
    return module


def test_a_buffer_that_no_file_holds_must_be_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its hash is in the file: another value would predict otherwise without a word."""
    path = exported(tmp_path / "f", Config.model_validate({"model": {"factory": f"{__name__}:passing"}}))
    streammeta.load_export(path, passing)
    monkeypatch.setitem(globals(), "FILL", [2.0])
    with pytest.raises(StreammetaError, match="other values of unseen"):
        streammeta.load_export(path, passing)


def test_import_is_cheap() -> None:
    """The package alone brings no torch."""
    code = "import sys, streammeta; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
