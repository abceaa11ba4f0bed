"""Damaged states: whatever happened to the data file, a reader sees the same content or is told."""

import multiprocessing
import os
import pickle
import random
import shutil
import signal
import struct
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any, Final

import lmdb
import numpy as np
import pytest

from streammeta.cli.state_reading import opened
from streammeta.errors import StateError
from streammeta.state.checkpoint import pack, unpack
from streammeta.state.checksums import Mark, sealed
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.rows import pack_stats
from streammeta.state.store import Meta, TaskRow, TaskStats, Waiting
from tests.states import checkpoint_of

TASKS: Final = tuple(f"task-{number:04}" for number in range(300))
PAGE: Final = 4096
DAMAGED: Final = 240
BRANCH: Final = 1
"""The flag of a page whose nodes name others."""
NUMBER_AT: Final = 16 + 4 + 4 + 8 + 8 + 96 + 8
"""Where a meta page has the number of its commit."""

Content = dict[str, Any]


@pytest.fixture(scope="module")
def apart() -> Iterator[Pool]:
    """A process with one thread, which may fork: threads that other tests left here cannot be taken along."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        yield pool


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


def outcome_of(work: Callable[[], Content]) -> Content | str:
    """What the work gives, or the error's kind."""
    try:
        return work()
    except StateError as error:
        return f"told: {error}"
    except BaseException as error:  # noqa: BLE001 (what it was is the result)
        return f"{type(error).__name__}: {error}"


def in_child(*works: Callable[[], Content]) -> list[Content | str]:
    """What each gives in a process of their own, or how that ended: the error's kind, or a signal."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            sys.stderr.flush()
            with open(writing, "wb") as pipe:  # noqa: PTH123 (a descriptor)
                pickle.dump([outcome_of(work) for work in works], pipe)
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 (a descriptor)
        packed = pipe.read()
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return [f"killed by {signal.Signals(os.WTERMSIG(status)).name}"] * len(works)
    found: list[Content | str] = pickle.loads(packed)  # noqa: S301 (what our child wrote)
    return found


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


def test_no_damage_is_silent(sound: Path, tmp_path: Path, apart: Pool) -> None:
    """240 damaged states, seeded: the same content, or a `StateError`; no other error, no signal."""
    whole = (sound / "lmdb" / "data.mdb").read_bytes()
    copies = [tmp_path / name for name in ("read", "written")]

    def outcomes(content: bytes) -> list[Content | str]:
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)
            (copy / "lmdb").mkdir(parents=True)
            (copy / "lmdb" / "data.mdb").write_bytes(content)
        works = (partial(read, copies[0], readonly=True), partial(read_and_write, copies[1]))
        return apart.apply(in_child, works)

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


def test_a_page_that_is_named_twice_is_told(sound: Path, tmp_path: Path) -> None:
    """A branch whose second child is its first: each page is sound, and some tasks would be others."""
    copy = Path(shutil.copytree(sound, tmp_path / "copy")) / "lmdb" / "data.mdb"
    data, changed = bytearray(copy.read_bytes()), 0
    for page in range(2 * PAGE, len(data), PAGE):
        _, _, flags, lower, _ = struct.unpack_from("<QHHHH", data, page)
        if flags == BRANCH and lower >= 16 + 2 * 2:
            first, second = struct.unpack_from("<HH", data, page + 16)
            data[page + second : page + second + 6] = data[page + first : page + first + 6]
            changed += 1
    assert changed
    copy.write_bytes(data)
    with pytest.raises(StateError, match="names a page that is another's"):
        LmdbStore(copy.parent, readonly=True)


def rewritten(directory: Path, change: Callable[[Any, dict[str, Any]], None]) -> None:
    """Change what is stored behind the store's back, and the number in the mark, as lost writes would."""
    with lmdb.open(str(directory / "lmdb"), max_dbs=5) as env:
        named = {name: env.open_db(name.encode()) for name in ("meta", "stats", "memories", "waiting")}
        with env.begin(write=True) as txn:
            change(txn, named)
            mark = Mark.unpack(txn.get(b"commit", b"", db=named["meta"])[:-4])
            again = mark._replace(transaction=txn.id())
            txn.put(b"commit", sealed("meta", b"commit", again.pack()), db=named["meta"])


def test_swapped_values_are_told(sound: Path, tmp_path: Path) -> None:
    """Each value is sound by itself, but not in the place of another task's or of another kind."""
    copy = Path(shutil.copytree(sound, tmp_path / "copy"))

    def swap_tasks(txn: Any, named: dict[str, Any]) -> None:
        one, other = (txn.get(task.encode(), db=named["memories"]) for task in TASKS[3:9:3])
        txn.put(TASKS[3].encode(), other, db=named["memories"])
        txn.put(TASKS[6].encode(), one, db=named["memories"])

    rewritten(copy, swap_tasks)
    with closing(LmdbStore(copy / "lmdb", readonly=True)) as store:
        for task in (TASKS[3], TASKS[6]):
            with pytest.raises(StateError, match=f"memories of task '{task}' fails its checksum"):
                store.get(task)
        assert store.get(TASKS[9]) is not None


def test_a_row_of_an_older_commit_is_told(sound: Path, tmp_path: Path) -> None:
    """A disk that lost a write gives a sound older value: the sums of the commit's checksums tell it."""
    copy = Path(shutil.copytree(sound, tmp_path / "copy"))
    stale = sealed("memories", TASKS[0].encode(), b"older")
    rewritten(copy, lambda txn, named: txn.put(TASKS[0].encode(), stale, db=named["memories"]))
    with (
        closing(LmdbStore(copy / "lmdb", readonly=True)) as store,
        store.snapshot() as snapshot,
        pytest.raises(StateError, match="values of another commit"),
    ):
        snapshot.verify()


@pytest.mark.parametrize("part", ["memories", "waiting", "stats"])
def test_a_lost_part_of_a_task_is_told(part: str, sound: Path, tmp_path: Path) -> None:
    """A task whose memory or expiry is gone is no task without one; one that is gone is no unknown task."""
    copy = Path(shutil.copytree(sound, tmp_path / "copy"))
    rewritten(copy, lambda txn, named: txn.delete(TASKS[5].encode(), db=named[part]))
    with pytest.raises(StateError, match="entries at commit"):
        LmdbStore(copy / "lmdb", readonly=True)


@pytest.mark.parametrize("commits", [1, 2, 3])
def test_an_older_meta_page_does_not_win(commits: int, tmp_path: Path) -> None:
    """With any bit of a commit's number flipped LMDB might take the one before it, in silence: it is told."""
    with closing(LmdbStore(tmp_path / "lmdb")) as store:
        for commit in range(commits):
            store.commit(commit_meta(commit), {task: row(n, commit) for n, task in enumerate(TASKS[:40])})
    data = tmp_path / "lmdb" / "data.mdb"
    sound = data.read_bytes()
    for page in (0, 1):
        for bit in (*range(12), 31, 32, 63):
            content = bytearray(sound)
            content[page * PAGE + NUMBER_AT + bit // 8] ^= 1 << bit % 8
            data.write_bytes(content)
            with pytest.raises(StateError, match="is damaged"):
                LmdbStore(tmp_path / "lmdb", readonly=True)
    data.write_bytes(sound)
    LmdbStore(tmp_path / "lmdb", readonly=True).close()


def as_layout_1(sound: Path, target: Path) -> None:
    """The same state as the former version wrote it."""
    with closing(LmdbStore(sound / "lmdb", readonly=True)) as store:
        target.mkdir()
        names = ("meta", "stats", "memories", "buffers", "waiting")
        with lmdb.open(str(target), map_size=1 << 30, max_dbs=5) as env:
            named = {name: env.open_db(name.encode()) for name in names}
            with store.snapshot() as snapshot, env.begin(write=True) as txn:
                meta = snapshot.load()
                assert meta is not None
                whole = {"layout": b"streammeta 1", "constants": snapshot.constants()}
                whole |= {"tensors": meta.tensors, "document": meta.document, "history": meta.history}
                for name, value in whole.items():
                    txn.put(name.encode(), value, db=named["meta"])
                for task in TASKS:
                    found, key = snapshot.get(task), task.encode()
                    assert found is not None
                    txn.put(key, pack_stats(found.stats), db=named["stats"])
                    txn.put(key, found.memory, db=named["memories"])
                    if found.buffer:
                        txn.put(key, found.buffer, db=named["buffers"])
                    if found.waiting:
                        txn.put(key, struct.pack("<QQ", *found.waiting), db=named["waiting"])


def test_a_state_of_the_former_layout(sound: Path, tmp_path: Path, apart: Pool) -> None:
    """Readers read it as it is; the first writer keeps a copy, and seals it; what it holds is the same."""
    expected = read(sound, readonly=True)
    (tmp_path / "old").mkdir()
    as_layout_1(sound, tmp_path / "old" / "lmdb")
    before = (tmp_path / "old" / "lmdb" / "data.mdb").read_bytes()
    assert read(tmp_path / "old", readonly=True) == expected
    assert (tmp_path / "old" / "lmdb" / "data.mdb").read_bytes() == before
    assert apart.apply(in_child, (partial(read, tmp_path / "old", readonly=False),)) == [expected]
    (tmp_path / "back").mkdir()
    (tmp_path / "old" / "lmdb.layout-1").rename(tmp_path / "back" / "lmdb")
    assert read(tmp_path / "back", readonly=True) == expected
    with lmdb.open(str(tmp_path / "back" / "lmdb"), max_dbs=5) as env:
        databases = env.open_db(b"meta", create=False)
        with env.begin() as txn:
            assert txn.get(b"layout", db=databases) == b"streammeta 1"
    assert read_and_write(tmp_path / "old") == read_and_write(Path(shutil.copytree(sound, tmp_path / "new")))
