"""Files of the inputs lie in memory: a disk that syncs each of 100,000 would be what is measured."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")  # noqa: S108 - Linux's file system in memory; what is made in it has a name of its own


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory, where there is one."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY, prefix="streammeta-fuzz-") as folder:
        yield Path(folder)
