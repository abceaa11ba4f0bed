"""What the store on disk promises beyond the contract: crashes, other processes, and words for failures."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import lmdb
import numpy as np
import pytest

from streammeta.errors import StateError
from streammeta.state import environment
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.store import Meta, TaskRow, TaskStats
from tests.state.committer import TASKS, states
from tests.state.processes import ROOT, next_line, python

META = Meta(b"tensors", b"{}")
MEGABYTE = TaskRow(TaskStats(), bytes(1 << 20))

PRELUDE = """
import contextlib, pathlib, sys
from streammeta.errors import StateError
from streammeta.state.store import Meta, TaskRow, TaskStats
from streammeta.state.lmdb_store import LmdbStore
META, MEGABYTE = Meta(b"tensors", b"{}"), TaskRow(TaskStats(), bytes(1 << 20))
directory = pathlib.Path(sys.argv[1])
"""
"""What the processes below begin with; they get a directory as their argument."""


def committer(directory: Path) -> tuple[str, ...]:
    """Arguments of Python for a process that commits for ever."""
    return "-m", "tests.state.committer", str(directory)


def test_reopened(tmp_path: Path) -> None:
    """What was committed is there after a close, and a reader sees it too."""
    row = TaskRow(TaskStats(events=7, last_seen_ms=-1, memory_norm=0.5), b"\x01\x02")
    with closing(LmdbStore(tmp_path / "new" / "lmdb")) as store:
        store.commit(META, {"a": row})
    for readonly in (False, True):
        with closing(LmdbStore(tmp_path / "new" / "lmdb", readonly=readonly)) as store:
            found = store.get("a")
            assert store.load() == META
            assert found is not None
            assert (found.stats.events, found.stats.last_seen_ms, found.memory) == (7, -1, b"\x01\x02")


def test_killed_while_committing(tmp_path: Path) -> None:
    """After SIGKILL at any moment the last commit told of, or the one begun after it, is there as a whole."""
    rng = np.random.default_rng(20)
    last = 0
    for _ in range(25):
        with python(*committer(tmp_path)) as process:
            assert next_line(process) == "opened"
            for _ in range(rng.integers(4)):
                last = int(next_line(process))
            time.sleep(rng.uniform(0.0, 0.01))  # the random moment of the kill, not a wait for anything
            process.kill()
            assert process.stdout is not None
            told = process.stdout.read().split()
            last = int(told[-1]) if told else last
        with closing(LmdbStore(tmp_path)) as store, store.snapshot() as view:
            (n,) = states(view) or {0}
        assert n in (last, last + 1)
        last = n
    assert last > 25


def test_read_while_another_process_writes(tmp_path: Path) -> None:
    """A reader sees one whole commit per snapshot, never an older one than before."""
    with python(*committer(tmp_path)) as process:
        assert [next_line(process) for _ in range(2)] == ["opened", "1"]
        seen: list[int] = []
        with closing(LmdbStore(tmp_path, readonly=True)) as store:
            deadline = time.monotonic() + 30
            while len(set(seen)) < 20 and time.monotonic() < deadline:
                with store.snapshot() as view:
                    (n,) = states(view)
                seen.append(n)
    assert len(set(seen)) == 20
    assert seen == sorted(seen)


def test_an_open_snapshot_does_not_delay_the_writer(tmp_path: Path) -> None:
    """The writer commits on while a snapshot is open, and the snapshot keeps showing its own commit."""
    with python(*committer(tmp_path)) as process:
        assert [next_line(process) for _ in range(2)] == ["opened", "1"]
        with closing(LmdbStore(tmp_path, readonly=True)) as store:
            with store.snapshot() as view:
                (shown,) = states(view)
                while int(next_line(process)) < shown + 50:
                    pass
                assert states(view) == {shown}
                assert view.count() == len(TASKS)
            meta = store.load()
            assert meta is not None
            assert int(meta.document) >= shown + 50


def test_a_killed_reader_does_not_make_the_file_grow(tmp_path: Path) -> None:
    """Pages that only a dead reader's snapshot needed are used again."""
    reading = f"""{PRELUDE}
with LmdbStore(directory, readonly=True).snapshot():
    print("reading", flush=True)
    sys.stdin.read()
"""
    with closing(LmdbStore(tmp_path)) as store:
        store.commit(META, {"a": MEGABYTE})
        with python("-c", reading, str(tmp_path)) as process:
            assert next_line(process) == "reading"
        for _ in range(30):
            store.commit(META, {"a": MEGABYTE})
    assert (tmp_path / "data.mdb").stat().st_size < 8 << 20


def test_snapshot_passes_the_errors_of_its_user_on(tmp_path: Path) -> None:
    """A failure that has nothing to do with the state is not called one of the state."""
    with (
        closing(LmdbStore(tmp_path)) as store,
        pytest.raises(FileNotFoundError, match="elsewhere"),
        store.snapshot(),
    ):
        (tmp_path / "elsewhere").read_bytes()


def test_closed_under_a_reader(tmp_path: Path) -> None:
    """Reading from a closed store is a `StateError`, for an iteration that had begun too."""
    store = LmdbStore(tmp_path)
    store.commit(META, {"a": MEGABYTE, "b": MEGABYTE})
    running = store.stats()
    next(running)
    store.close()
    with pytest.raises(StateError, match="closed"):
        next(running)
    with pytest.raises(StateError, match="closed"):
        store.get("a")


def empty_directory(directory: Path) -> None:
    """A directory without files."""
    directory.mkdir()


def empty_file(directory: Path) -> None:
    """What a kill leaves between making the data file and its first page."""
    directory.mkdir()
    (directory / "data.mdb").touch()


def unborn(directory: Path) -> None:
    """What a kill leaves between the first page and the sub-databases."""
    directory.mkdir()
    lmdb.open(str(directory)).close()


@pytest.mark.parametrize("make", [lambda _: None, empty_directory, empty_file, unborn])
def test_no_state(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A reader is told that there is nothing and makes nothing; a writer begins."""
    directory = tmp_path / "lmdb"
    make(directory)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StateError, match=r"there is no state here; name the directory"):
        LmdbStore(directory, readonly=True)
    assert sorted(tmp_path.rglob("*")) == before
    with closing(LmdbStore(directory)) as store:
        assert store.load() is None
        assert store.commit(META, {"a": MEGABYTE}) > 1 << 20


def text_file(directory: Path) -> None:
    """Something else under the name of the data file."""
    directory.mkdir()
    (directory / "data.mdb").write_bytes(b"not a database " * 1000)


def foreign(directory: Path) -> None:
    """Another program's LMDB file."""
    with lmdb.open(str(directory)) as env, env.begin(write=True) as txn:
        txn.put(b"key", b"value")


def later_layout(directory: Path) -> None:
    """A state of a later version."""
    LmdbStore(directory).close()
    with lmdb.open(str(directory), max_dbs=3) as env:
        databases = env.open_db(b"meta")
        with env.begin(write=True) as txn:
            txn.put(b"layout", b"streammeta 3", db=databases)


def cut_short(directory: Path) -> None:
    """A copy that was not finished."""
    with closing(LmdbStore(directory)) as store:
        store.commit(META, {str(n): MEGABYTE for n in range(4)})
    data = directory / "data.mdb"
    with data.open("r+b") as file:
        file.truncate(data.stat().st_size // 2)


def test_any_cut_of_a_small_state_is_told(tmp_path: Path) -> None:
    """A file cut at any page, also by its last one, is refused: reading on would be a bus error."""
    directory = tmp_path / "lmdb"
    with closing(LmdbStore(directory)) as store:
        for number in range(20):
            store.commit(META, {str(n): TaskRow(TaskStats(number), bytes(7044)) for n in range(number + 1)})
    data = directory / "data.mdb"
    whole = data.read_bytes()
    assert len(whole) > 30 * 4096
    for pages in range(2, len(whole) // 4096):
        data.write_bytes(whole[: pages * 4096])
        with pytest.raises(StateError, match="cut short"):
            LmdbStore(directory)
    data.write_bytes(whole)
    with closing(LmdbStore(directory)) as store:
        assert store.count() == 20


@pytest.mark.parametrize("readonly", [False, True])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (text_file, r"data\.mdb is damaged .*; restore a copy"),
        (foreign, r"data\.mdb was not written by streammeta .*; name another directory"),
        (later_layout, r"its layout is b'streammeta 3', this version reads b'streammeta 2'; use the"),
        (cut_short, r"data\.mdb is cut short \([\d,]+ bytes, at least [\d,]+ belong to it\); restore a copy"),
    ],
)
def test_unusable(tmp_path: Path, make: Callable[[Path], None], message: str, readonly: bool) -> None:
    """What is no whole state of this version is refused with a remedy, and not touched."""
    directory = tmp_path / "lmdb"
    make(directory)
    before = (directory / "data.mdb").read_bytes()
    with pytest.raises(StateError, match=message):
        LmdbStore(directory, readonly=readonly)
    assert (directory / "data.mdb").read_bytes() == before


def test_a_file_in_the_way(tmp_path: Path) -> None:
    """A directory that cannot be made is named, with the remedy."""
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match=r"file/lmdb: .*Not a directory.*see that this user may"):
        LmdbStore(tmp_path / "file" / "lmdb")


def test_map_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state that outgrows its address space is refused with the remedy; the former commit stands."""
    monkeypatch.setattr(environment, "_MAP_SIZES_BYTES", (2 << 20,))
    with closing(LmdbStore(tmp_path)) as store:
        store.commit(Meta(b"", b"1"), {"a": TaskRow(TaskStats(events=1), b"m")})
        with pytest.raises(StateError, match=r"outgrew its address space .*ulimit -v unlimited"):
            store.commit(
                Meta(b"", b"2"), {"a": TaskRow(TaskStats(events=2), b"m"), "b": MEGABYTE, "c": MEGABYTE}
            )
        assert store.load() == Meta(b"", b"1")
        row = store.get("a")
        assert row is not None
        assert row.stats.events == 1
        assert store.count() == 1


def limited(limit: str, size_bytes: int, code: str, directory: Path) -> "subprocess.CompletedProcess[str]":
    """Run `code` on `directory` in a process with a limit of the module `resource`."""
    code = f"import resource; resource.setrlimit(resource.{limit}, ({size_bytes}, {size_bytes}))\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code, str(directory)], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_little_address_space(tmp_path: Path) -> None:
    """Where a terabyte of addresses is refused, a smaller map does; where none is left, that is said."""
    opening = f"{PRELUDE}store = LmdbStore(directory); print(store.load(), store.count())"
    assert limited("RLIMIT_AS", 5 << 30, opening, tmp_path).stdout == "None 0\n"
    refused = limited("RLIMIT_AS", 1 << 29, opening, tmp_path).stderr
    assert "no address space for even 1,073,741,824 bytes" in refused


def test_no_room_for_the_file(tmp_path: Path) -> None:
    """A commit that the file system refuses is a `StateError`; the former commit stands."""
    committing = f"""{PRELUDE}
store = LmdbStore(directory)
store.commit(META, {{"a": MEGABYTE}})
try:
    store.commit(META, {{str(n): MEGABYTE for n in range(4)}})
except StateError as error:
    print(error, store.count(), sep="|")
"""
    told = limited("RLIMIT_FSIZE", 4 << 20, committing, tmp_path)
    message, count = told.stdout.split("|")
    assert "the last commit stands" in message
    assert "bytes of the disk are free" in message
    assert int(count) == 1
    with closing(LmdbStore(tmp_path)) as store:
        assert store.count() == 1


def test_disk_full(tmp_path: Path) -> None:
    """On a full disk a commit is refused, and so is a new state; neither kills the process."""
    unshare = shutil.which("unshare")
    if (
        unshare is None
        or subprocess.run([unshare, "-rm", "true"], capture_output=True, check=False).returncode
    ):
        pytest.skip("needs the right to mount a small file system (unshare -rm)")
    committing = f"""{PRELUDE}
store = LmdbStore(directory / "one")
store.commit(META, {{"a": MEGABYTE}})
(directory / "two").mkdir()
try:
    store.commit(META, {{str(n): MEGABYTE for n in range(4)}})
except StateError as error:
    print(store.count(), error)
with (directory / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
    while rest.write(bytes(4096)):
        pass
try:
    LmdbStore(directory / "two")
except StateError as error:
    print(error)
"""
    mount = 'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    told = subprocess.run(
        [unshare, "-rm", "sh", "-c", mount, "sh", str(tmp_path), sys.executable, committing],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    first, second = told.stdout.splitlines() or [told.stderr, ""]
    assert first.startswith("1 state ")
    assert "the last commit stands" in first
    assert "make room" in first
    assert "No space left on device" in second
    assert "0 bytes of the disk are free: make room" in second


def test_what_broke_a_commit_is_said_ever_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LMDB refuses all that follows with a word of its own: the cause is told again, with its remedy."""

    class Broken:
        """An environment whose commit fails in the middle of its last page."""

        def __init__(self) -> None:
            self._causes = iter([lmdb.Error("mdb_txn_commit: Disk quota exceeded")])

        def begin(self, **_: object) -> None:
            raise next(self._causes, lmdb.PanicError("mdb_txn_begin: MDB_PANIC"))

        def __getattr__(self, name: str) -> object:
            return getattr(sound, name)

    with closing(LmdbStore(tmp_path)) as store:
        sound = store._env
        monkeypatch.setattr(store, "_env", Broken())
        asks: list[Callable[[], object]] = [
            lambda: store.commit(META, {}),
            store.count,
            lambda: store.commit(META, {}),
        ]
        for ask in asks:
            with pytest.raises(StateError, match="Disk quota exceeded; the last commit stands"):
                ask()
