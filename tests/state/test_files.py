"""Files for the order log: the operating system's, and the simulated disk's, do the same."""

import random
from pathlib import Path

import pytest

from streammeta.state.files import Files, OsFiles
from tests.simulator.clock import Clock
from tests.simulator.disk import Disk


@pytest.fixture(params=["system", "simulated"])
def files(request: pytest.FixtureRequest) -> Files:
    """One of them."""
    return OsFiles() if request.param == "system" else Disk(Clock(), random.Random(0))


def test_what_is_appended_is_read(files: Files, tmp_path: Path) -> None:
    """Nothing where it is absent; then what was written, through any opening, but for what was cut."""
    path = tmp_path / "log"
    assert files.read(path) == b""
    first = files.open(path)
    assert files.write(first, b"abc") == 3
    second = files.open(path)
    files.write(second, b"def")
    assert files.read(path) == b"abcdef"
    files.truncate(first, 2)
    files.write(second, b"z")
    assert files.read(path) == b"abz"
    files.close(first)
    files.close(second)


def test_one_takes_the_place_of_another(files: Files, tmp_path: Path) -> None:
    """What is open stays open under its new name; made anew, a file is empty."""
    old, new = tmp_path / "log", tmp_path / "log.new"
    before = files.open(old)
    files.write(before, b"old")
    files.close(before)
    files.close(files.open(new))
    after = files.open(new, anew=True)
    files.write(after, b"new")
    files.rename(new, old)
    files.write(after, b"er")
    assert files.read(old) == b"newer"
    assert files.read(new) == b""
    files.close(files.open(old, anew=True))
    assert files.read(old) == b""
    files.close(after)
