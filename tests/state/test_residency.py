"""What was read from disk does not stay in the process's memory."""

import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.residency import MappedFile
from streammeta.state.store import Meta, TaskRow, TaskStats

META = Meta(b"", b"")
TASKS = {f"t{n}": TaskRow(TaskStats(events=n), bytes([n]) * (1 << 20)) for n in range(64)}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells where files are mapped")
def test_a_commit_gives_back_what_was_read(tmp_path: Path) -> None:
    """After a commit the rows read before do not count as memory of this process, and read the same again."""
    with closing(LmdbStore(tmp_path)) as store:
        store.commit(META, TASKS)
        before = psutil.Process().memory_info().rss
        assert all(store.get(task) is not None for task in TASKS)
        grown = psutil.Process().memory_info().rss - before
        store.commit(META, {})
        kept = psutil.Process().memory_info().rss - before
        assert grown > 50 << 20
        assert kept < 10 << 20
        assert [row.memory for task in TASKS if (row := store.get(task))] == [
            r.memory for r in TASKS.values()
        ]


def test_a_running_iteration_goes_on(tmp_path: Path) -> None:
    """Readers of the same process notice nothing but the time to map pages again."""
    with closing(LmdbStore(tmp_path)) as store:
        store.commit(META, TASKS)
        with store.snapshot() as view:
            running = view.stats()
            first = next(running)
            store.commit(META, {})
            assert dict([first, *running]).keys() == TASKS.keys()


def test_a_file_that_is_not_mapped(tmp_path: Path) -> None:
    """There is nothing to give back, and nothing happens."""
    path = tmp_path / "file"
    path.write_bytes(b"content")
    MappedFile(path).release()
    assert path.read_bytes() == b"content"
