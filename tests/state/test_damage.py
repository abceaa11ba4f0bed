"""Damaged states: whatever happened to the data file, a reader sees the same content or is told."""

import os
import pickle
import random
import shutil
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import lmdb
import numpy as np
import pytest

from streammeta.cli.state import opened
from streammeta.errors import StateError
from streammeta.state.checkpoint import pack, unpack
from streammeta.state.checksums import sealed
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.rows import pack_stats
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting
from tests.states import checkpoint_of

TASKS: Final = tuple(f"task-{number:04}" for number in range(300))
PAGE: Final = 4096
DAMAGED: Final = 240

Content = dict[str, Any]


def row(number: int, commit: int) -> TaskRow:
    """Short and long memories; every third task with examples, every fifth with something that may expire."""
    size = (6, 40, 1800)[number % 3]
    stats = TaskStats(events=commit + 1, last_event=number + commit, loss_meta=number / 7)
    memory = np.full(size, number + commit, np.float32).tobytes()
    buffer = bytes([number % 251]) * (30 * (number % 3 == 0)) * 9
    return TaskRow(stats, memory, buffer, Waiting(number, commit) if number % 5 == 0 else None)


def commit_meta(commit: int) -> Meta:
    """The meta state of a commit."""
    meta = pack(checkpoint_of(commit))
    return Meta(meta.tensors, meta.document, bytes(range(256)) * 20)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a history of commits: free pages, long values, all sub-databases."""
    directory: Path = tmp_path_factory.mktemp("damage") / "state"
    draws = random.Random(3)
    with closing(LmdbStore(directory / "lmdb")) as store:
        store.commit(commit_meta(0), {task: row(n, 0) for n, task in enumerate(TASKS)}, b"constants" * 50)
        for commit in range(1, 9):
            chosen = {n: TASKS[n] for n in draws.sample(range(300), 40)}
            store.commit(commit_meta(commit), {task: row(n, commit) for n, task in chosen.items()})
    return directory


def read(directory: Path, *, readonly: bool) -> Content:
    """All that a state says."""
    with closing(LmdbStore(directory / "lmdb", readonly=readonly)) as store:
        meta = store.load()
        assert meta is not None
        return {
            "meta": meta,
            "positions": unpack(meta).positions,
            "constants": store.constants(),
            "tasks": {task: repr(store.get(task)) for task in (*TASKS, "task-0000x", "a", "z")},
            "stats": [*map(repr, store.stats())],
            "waiting": [*store.waiting()],
            "count": store.count(),
        }


def read_and_write(directory: Path) -> Content:
    """What a daemon reads, then what a reader reads once it committed."""
    content = read(directory, readonly=False)
    with closing(LmdbStore(directory / "lmdb")) as store:
        store.commit(commit_meta(9), {TASKS[n]: row(n, 9) for n in range(0, 300, 7)})
    with opened(directory) as (snapshot, checkpoint):
        return content | {
            "after": [repr(snapshot.get(task)) for task in TASKS],
            "positions after": checkpoint.positions,
            "verified": snapshot.verify(),
        }


def in_child(work: Callable[[], Content]) -> Content | str:
    """What the work gives in a process of its own, or how that ended: the error's kind, or a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            sys.stderr.flush()
            try:
                outcome: Any = work()
            except StateError as error:
                outcome = f"told: {error}"
            except BaseException as error:  # noqa: BLE001 (what it was is the result)
                outcome = f"{type(error).__name__}: {error}"
            with open(writing, "wb") as pipe:  # noqa: PTH123 (a descriptor)
                pickle.dump(outcome, pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 (a descriptor)
        packed = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return f"killed by {signal.Signals(os.WTERMSIG(status)).name}"
    outcome = pickle.loads(packed)  # noqa: S301 (what our child wrote)
    return outcome  # type: ignore[no-any-return]  # either of the two, as the child made it


def flip(data: bytearray, draws: random.Random) -> None:
    """One bit."""
    data[draws.randrange(len(data))] ^= 1 << draws.randrange(8)


def flip_in_header(data: bytearray, draws: random.Random) -> None:
    """One bit where LMDB's own numbers are: the first bytes of a page."""
    page = draws.randrange(len(data) // PAGE)
    data[page * PAGE + draws.randrange(160)] ^= 1 << draws.randrange(8)


def flip_in_meta(data: bytearray, draws: random.Random) -> None:
    """One bit in the meta pages."""
    data[draws.randrange(2) * PAGE + draws.randrange(152)] ^= 1 << draws.randrange(8)


def zero(data: bytearray, draws: random.Random) -> None:
    """A page of zeros."""
    page = draws.randrange(len(data) // PAGE)
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)


def swap(data: bytearray, draws: random.Random) -> None:
    """Two pages change places."""
    one, other = (draws.randrange(len(data) // PAGE) * PAGE for _ in range(2))
    data[one : one + PAGE], data[other : other + PAGE] = data[other : other + PAGE], data[one : one + PAGE]


def truncate(data: bytearray, draws: random.Random) -> None:
    """The end is missing."""
    del data[draws.randrange(len(data)) :]


def noise(data: bytearray, draws: random.Random) -> None:
    """A sector of noise."""
    at = draws.randrange(len(data) // 512) * 512
    data[at : at + 512] = draws.randbytes(512)


DAMAGES: Final = (flip, flip_in_header, flip, flip_in_meta, zero, swap, truncate, noise)


def test_no_damage_is_silent(sound: Path, tmp_path: Path) -> None:
    """240 damaged states, seeded: the same content, or a `StateError`; no other error, no signal."""
    whole = (sound / "lmdb" / "data.mdb").read_bytes()
    copy = tmp_path / "copy"
    (copy / "lmdb").mkdir(parents=True)

    def outcomes(content: bytes) -> list[Content | str]:
        found = []
        for work in (lambda: read(copy, readonly=True), lambda: read_and_write(copy)):
            shutil.rmtree(copy)
            (copy / "lmdb").mkdir(parents=True)
            (copy / "lmdb" / "data.mdb").write_bytes(content)
            found.append(in_child(work))
        return found

    expected, wrong, told = outcomes(whole), [], Counter[str]()
    assert all(isinstance(each, dict) for each in expected)
    for number in range(DAMAGED):
        damage, draws = DAMAGES[number % len(DAMAGES)], random.Random(number)
        data = bytearray(whole)
        damage(data, draws)
        for reader, outcome, same in zip("rw", outcomes(bytes(data)), expected, strict=True):
            if isinstance(outcome, str) and outcome.startswith("told: "):
                assert "restore a copy" in outcome or "streammeta" in outcome
                told[damage.__name__] += 1
            elif outcome != same:
                wrong.append(
                    (number, damage.__name__, reader, outcome if isinstance(outcome, str) else "silent")
                )
    assert not wrong
    assert len(told) == len(set(DAMAGES))
