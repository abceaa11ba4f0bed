"""What the image installs is locked: every package, with hashes, as the tests ran with it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.deploy.closure import closure

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "deploy" / "lock"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
ENTRY = re.compile(r"^([a-z0-9-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def locked(name: str) -> dict[str, str]:
    """Package -> version; each line of the file belongs to an entry with a hash."""
    text = (LOCK / name).read_text()
    assert ENTRY.sub("", text).replace("\n", "").startswith("#")
    assert len(re.findall(r"^[^# ]", text, re.MULTILINE)) == len(ENTRY.findall(text))
    return {package: number for package, number, _ in ENTRY.findall(text)}


def test_all_that_is_installed_is_locked() -> None:
    """What the project asks for and what that asks for in turn, in this environment; nothing else."""
    needed = closure(map(Requirement, PROJECT["project"]["dependencies"]))
    assert locked("runtime.txt").keys() | locked("torch.txt").keys() == needed
    build = closure(map(Requirement, PROJECT["build-system"]["requires"]))
    assert locked("build.txt").keys() == build


@pytest.mark.parametrize("each", PROJECT["project"]["dependencies"] + PROJECT["build-system"]["requires"])
def test_the_lock_suits_the_project(each: str) -> None:
    """The locked version is one that `pyproject.toml` allows."""
    wanted = Requirement(each)
    pins = locked("runtime.txt") | locked("torch.txt") | locked("build.txt")
    assert wanted.specifier.contains(Version(pins[canonicalize_name(wanted.name)]))


def test_torch_is_the_minor_that_is_tested() -> None:
    """Saved bits depend on it."""
    here, there = Version(version("torch")), Version(locked("torch.txt")["torch"])
    assert here.release[:2] == there.release[:2]
