"""The LMDB environment of a state: made, opened, recognised; its failures put into words.

Layout 2, five sub-databases, so that listing tasks reads no memories:

    meta      b"layout" -> b"streammeta 2"; b"tensors", b"document" and b"history" of `Meta`;
              b"constants" (`pack_constants`), written once, which older states may lack;
              b"united" (`pack_state`), of a group of ranks, written at the end of a round;
              b"ids/" and 16 hexadecimal digits -> a block of event ids (`event_ids`);
              b"commit" (`checksums.Mark`)
    stats     task id -> 192 bytes or more (`rows.pack_stats`), u8: which of those below hold the task
    memories  task id -> the memory's raw numbers
    buffers   task id -> the examples that it has gathered (`buffers.pack_buffer`); only where there are any
    waiting   task id -> 16 bytes (`rows.pack_waiting`); only where something may expire

Every value but the layout is sealed (`checksums.sealed`). Layout 1 had no seals, no mark and not that u8, at
first not the last two sub-databases: readers read it as it is, the first writer keeps a copy of it in
`lmdb.layout-1`, then rewrites it.

Invariant: the sub-databases and the layout come into being in one transaction, and so does a rewritten state.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import lmdb

from streammeta.errors import StateError
from streammeta.state.checksums import Mark, sealed, unsealed
from streammeta.state.extent import fit, lengthen
from streammeta.state.meta_pages import check_metas
from streammeta.state.pages import check_pages
from streammeta.state.rewriting import rewrite
from streammeta.state.rows import RESTORE

LAYOUT = b"streammeta 2"
OLD_LAYOUT = b"streammeta 1"
IDS = b"ids/"
"""What the keys of blocks of event ids begin with."""
DATA = "data.mdb"
"""Name of LMDB's data file in the state's directory."""

# Address space, not disk: the file grows as needed. The smaller ones serve where addresses are rationed.
_MAP_SIZES_BYTES = (1 << 40, 1 << 37, 1 << 35, 1 << 33, 1 << 31, 1 << 30)
_LOCK_FILE_BYTES = 16384  # LMDB's table of readers: one cache line each, 250 of them


class Databases(NamedTuple):
    """Handles of the sub-databases; the field names are their names."""

    meta: lmdb._Database
    stats: lmdb._Database
    memories: lmdb._Database
    buffers: lmdb._Database | None
    waiting: lmdb._Database | None


def open_environment(directory: Path, *, readonly: bool) -> tuple[lmdb.Environment, Databases]:
    """Open the state; unless `readonly`, make it where there is none.

    Raises:
        StateError: there is no state (`readonly`), it is damaged or foreign, or it cannot be opened.
    """
    try:
        with explained(directory):
            if readonly:
                _require_data(directory)
            else:
                _make(directory)
            if (directory / DATA).exists():
                check_metas(directory / DATA)
            return _recognised(_mapped(directory, readonly), directory, readonly)
    except OSError as error:
        raise failed(directory, error) from error


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what LMDB says into a `StateError` with the remedy."""
    try:
        yield
    except (lmdb.InvalidError, lmdb.CorruptedError, lmdb.PageNotFoundError) as error:
        raise StateError(f"state {directory}: {DATA} is damaged ({error}); {RESTORE}") from error
    except (lmdb.NotFoundError, lmdb.IncompatibleError, lmdb.VersionMismatchError) as error:
        raise StateError(
            f"state {directory}: {DATA} was not written by streammeta ({error}); name another directory"
        ) from error
    except lmdb.MapFullError as error:
        raise StateError(
            f"state {directory}: the state outgrew its address space ({error}); the last commit stands; "
            "raise the limit (`ulimit -v unlimited`) and start again"
        ) from error
    except lmdb.Error as error:
        raise failed(directory, error) from error


def _make(directory: Path) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # LMDB maps this file: without blocks of its own, a full disk would be a bus error instead of a message.
    lock = os.open(directory / "lock.mdb", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(lock, 0, _LOCK_FILE_BYTES)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):  # else: the file system knows no such call
            raise
    finally:
        os.close(lock)


def _require_data(directory: Path) -> None:
    data = directory / DATA
    if not data.is_file() or data.stat().st_size == 0:
        raise _no_state(directory)


def _mapped(directory: Path, readonly: bool) -> lmdb.Environment:
    for map_size_bytes in _MAP_SIZES_BYTES:
        try:
            return lmdb.open(
                str(directory),
                map_size=map_size_bytes,
                readonly=readonly,
                max_dbs=len(Databases._fields),
                mode=0o600,
                readahead=False,  # tasks come in any order: reading ahead would only evict what is needed
            )
        except lmdb.MemoryError:
            continue
    raise StateError(
        f"state {directory}: no address space for even {_MAP_SIZES_BYTES[-1]:,} bytes; "
        "raise the limit (`ulimit -v unlimited`)"
    )


def _recognised(env: lmdb.Environment, directory: Path, readonly: bool) -> tuple[lmdb.Environment, Databases]:
    try:
        return env, _attached(env, directory, readonly)
    except BaseException:
        env.close()
        raise


def _attached(env: lmdb.Environment, directory: Path, readonly: bool) -> Databases:
    """Find the sub-databases, or make them."""
    data = directory / DATA
    if env.stat()["entries"] == 0:
        if readonly:
            raise _no_state(directory)
        lengthen(data, env)
        _make_databases(env)
        fit(data, env)
        sync_entries(directory)
    with env.begin() as txn:
        check_pages(data, txn.id(), values=not readonly)
    meta, stats, memories = (env.open_db(name.encode(), create=False) for name in Databases._fields[:3])
    with env.begin(db=meta) as txn:
        layout = txn.get(b"layout")
    if layout not in (LAYOUT, OLD_LAYOUT):
        raise StateError(
            f"state {directory}: its layout is {layout!r}, this version reads {LAYOUT!r}; "
            "use the streammeta version that made it, or start a new state in an empty directory"
        )
    later = (_later(env, data, name, readonly) for name in Databases._fields[3:])
    databases = Databases(meta, stats, memories, *later)
    if layout == OLD_LAYOUT and not readonly:
        kept = directory.with_name(f"{directory.name}.layout-1")
        if not kept.exists():  # else a former attempt has kept it
            copy_whole(env, kept)
        rewrite(env, data, databases, LAYOUT)
    _check_mark(env, databases, directory)
    return databases


def copy_whole(env: lmdb.Environment, target: Path) -> None:
    """Copy the last commit to a new directory, while any thread reads or commits.

    Atomic: the directory appears when all is in it, and on the disk.

    Raises:
        OSError, lmdb.Error: it cannot be copied.
    """
    unfinished = target.with_name(target.name + ".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    env.copy(str(unfinished))
    (unfinished / DATA).chmod(0o600)
    copy = os.open(unfinished / DATA, os.O_RDONLY)
    try:
        os.fsync(copy)
    finally:
        os.close(copy)
    unfinished.rename(target)
    sync_entries(target)


def _check_mark(env: lmdb.Environment, databases: Databases, directory: Path) -> None:
    """See that what is read is the last commit, with all its entries."""
    with env.begin() as txn:
        if txn.get(b"layout", db=databases.meta) == OLD_LAYOUT:
            return
        mark = Mark.unpack(unsealed("meta", b"commit", txn.get(b"commit", b"", db=databases.meta)))
        number, counts = txn.id(), entries_of(txn, databases)
    if (mark.transaction, *mark.counts) != (number, *counts):
        raise StateError(
            f"state {directory}: {DATA} is damaged (it holds {counts} entries at commit {number:,}, "
            f"{mark.counts} at commit {mark.transaction:,} belong to it); {RESTORE}"
        )


def entries_of(txn: "lmdb.Transaction[bytes]", databases: Databases) -> tuple[int, ...]:
    """Entries of the sub-databases of tasks."""
    return tuple(0 if each is None else txn.stat(each)["entries"] for each in databases[1:])


def _later(env: lmdb.Environment, data: Path, name: str, readonly: bool) -> lmdb._Database | None:
    """A sub-database that an older state may lack; a reader then does without."""
    try:
        return env.open_db(name.encode(), create=False)
    except lmdb.NotFoundError:
        if readonly:
            return None
    lengthen(data, env)
    made = env.open_db(name.encode())
    fit(data, env)
    return made


def _make_databases(env: lmdb.Environment) -> None:
    with env.begin(write=True) as txn:
        databases = Databases(*(env.open_db(name.encode(), txn) for name in Databases._fields))
        txn.put(b"layout", LAYOUT, db=databases.meta)
        txn.put(b"commit", sealed("meta", b"commit", Mark(txn.id()).pack()), db=databases.meta)


def sync_entries(directory: Path) -> None:
    """Make the new files' names as durable as their content."""
    for path in (directory, directory.parent):
        entries = os.open(path, os.O_RDONLY)
        try:
            os.fsync(entries)
        finally:
            os.close(entries)


def _no_state(directory: Path) -> StateError:
    return StateError(
        f"{directory.parent}: there is no state here; name the directory that a learner writes to "
        "(`state.dir`), or start the learner first"
    )


def failed(directory: Path, error: Exception) -> StateError:
    """What the disk or LMDB refused, with the remedy."""
    return StateError(
        f"state {directory}: {error}; the last commit stands; {_free(directory)}: make room if that is "
        "little, else see that this user may read and write there and that the disk is sound"
    )


def _free(directory: Path) -> str:
    try:
        return f"{shutil.disk_usage(directory).free:,} bytes of the disk are free"
    except OSError:
        return "the disk does not tell its free space"
