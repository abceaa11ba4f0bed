"""The import contracts of `pyproject.toml` say no to what they are there for."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
CORE, KAFKA, LAYERS, FLOWER = CONTRACTS
IMPURE = ("kafka", "prometheus_client", "structlog", "logging", "time", "click", "random")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The package and its contracts, to be spoilt."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "streammeta", tmp_path / "streammeta", ignore=shutil.ignore_patterns("__pycache__", "static")
    )
    return tmp_path


def broken(copy: Path) -> list[str]:
    """The contracts that a copy breaks, as import-linter says it."""
    program = "from importlinter.cli import lint_imports_command as lint; lint(['--no-cache'])"
    env = os.environ | {"PYTHONPATH": str(copy)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr + done.stdout
    return [line.strip() for line in done.stdout.splitlines() if " BROKEN" in line or "Could not" in line]


def plant(copy: Path, module: str, line: str) -> None:
    """Put a line at the end of a module."""
    with (copy / (module.replace(".", "/") + ".py")).open("a") as file:
        file.write(f"\n{line}\n")


def test_as_it_is_nothing_is_broken(copy: Path) -> None:
    """The copy keeps what the tree keeps."""
    assert broken(copy) == []


@pytest.mark.parametrize("module", ["streammeta.models.losses", "streammeta.state.memories"])
def test_the_kafka_client_in_a_core_room(copy: Path, module: str) -> None:
    """`import kafka` in any module of the core fails the gate."""
    plant(copy, module, "import kafka")
    assert len(broken(copy)) == 1


def test_every_impurity_is_named(copy: Path) -> None:
    """Clock, logging, metrics, command line, the process's own random numbers: none in the core."""
    assert CORE["forbidden_modules"] == list(IMPURE)
    for name in IMPURE[1:]:
        plant(copy, "streammeta.learner.engine", f"import {name}")
    assert len(broken(copy)) == 1


def test_every_room_is_told_to_be_core_or_not() -> None:
    """A new room must say which it is: of the core, of those that no client may enter, or Kafka's."""
    named = {name.split(".")[1] for contract in (CORE, KAFKA) for name in contract["source_modules"]}
    modules = (ROOT / "streammeta").iterdir()
    rooms = {path.stem for path in modules if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert rooms - named == {"__init__", "__main__", "config", "sending", "stream"} - named


def test_a_module_without_a_room(copy: Path) -> None:
    """A new module beside the rooms fails the gate until it stands in the layers."""
    assert LAYERS["exhaustive"]
    (copy / "streammeta" / "attic.py").write_text('"""New."""\n')
    assert len(broken(copy)) == 1


def test_an_arrow_up(copy: Path) -> None:
    """A room below knows nothing of one above."""
    plant(copy, "streammeta.models.network", "import streammeta.learner.engine")
    assert len(broken(copy)) == 1


@pytest.mark.parametrize("name", FLOWER["forbidden_modules"])
def test_flower_outside_its_room(copy: Path, name: str) -> None:
    """Flower or Ray in any room but that of federations fails the gate."""
    plant(copy, "streammeta.programs.daemon", f"import {name}")
    assert len(broken(copy)) == 1
