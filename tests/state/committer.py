"""A process that commits numbered states for ever, to be killed: meta state n, and every row says n.

    python -m tests.state.committer DIRECTORY

Goes on from the number it finds, and prints each number after its commit.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import count
from pathlib import Path

from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.snapshot import LmdbSnapshot
from streammeta.state.store import Meta, TaskRow, TaskStats

TASKS = [f"task-{index}" for index in range(40)]


def numbered(n: int) -> tuple[Meta, Mapping[str, TaskRow]]:
    """State n. Rows grow and shrink with n, so that pages are split and freed."""
    meta = Meta(str(n).encode() * (n % 2000), str(n).encode())
    return meta, {task: TaskRow(TaskStats(events=n), _memory(n)) for task in TASKS}


def _memory(n: int) -> bytes:
    return str(n).encode() * (n % 700)


def states(view: LmdbSnapshot) -> set[int]:
    """The numbers that a snapshot shows: one, or none before the first commit; more if commits are mixed."""
    meta = view.load()
    if meta is None:
        assert view.count() == 0
        return set()
    found = {int(meta.document)} | {stats.events for _, stats in view.stats()}
    for task in TASKS:
        row = view.get(task)
        assert row is not None
        assert row.memory == _memory(row.stats.events)
        found.add(row.stats.events)
    assert meta == numbered(int(meta.document))[0]
    return found


def commit_for_ever(store: LmdbStore) -> Iterator[int]:
    """Commit the next number, again and again."""
    meta = store.load()
    for n in count(1 if meta is None else int(meta.document) + 1):
        store.commit(*numbered(n))
        yield n


if __name__ == "__main__":
    with closing(LmdbStore(Path(sys.argv[1]))) as opened:
        print("opened", flush=True)
        for committed in commit_for_ever(opened):
            print(committed, flush=True)
