"""Kept copies of the state: made while it is written, verified, rotated, put back.

    state/checkpoints/EVENTS/lmdb/data.mdb   the commit after so many events

Invariant: a copy appears when it is whole and was verified; whatever `restore` replaces is moved aside, never
deleted, and a crash in the middle of it leaves a directory that a learner refuses rather than begins anew in.
"""

import shutil
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from streammeta.errors import StateError
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.environment import failed, sync_entries
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog


class Copy(NamedTuple):
    """A kept copy: the events that it has learned, and its directory."""

    events: int
    path: Path

    @property
    def lmdb_path(self) -> Path:
        """The directory of its store."""
        return self.path / "lmdb"


class Verified(NamedTuple):
    """What a sound store holds: its checkpoint, tasks and values."""

    checkpoint: Checkpoint
    tasks: int
    values: int


def copies(directory: StateDirectory) -> list[Copy]:
    """The kept copies, newest first, not verified."""
    found = directory.copies_path.iterdir() if directory.copies_path.is_dir() else ()
    kept = [Copy(int(path.name), path) for path in found if path.name.isascii() and path.name.isdigit()]
    return sorted(kept, reverse=True)


def verify(lmdb_path: Path) -> Verified:
    """Read every value of the last commit, also while it is written.

    Raises:
        StateError: there is no state, no commit, or something is damaged, named.
    """
    with closing(LmdbStore(lmdb_path, readonly=True)) as store, store.snapshot() as snapshot:
        values = snapshot.verify()
        meta = snapshot.load()
        if meta is None:
            raise StateError(f"state {lmdb_path}: nothing was committed yet; start the learner first")
        return Verified(unpack(meta), snapshot.count(), values)


def create(directory: StateDirectory, store: LmdbStore) -> Copy:
    """Copy the last commit of the open store, verify it, and let it appear under its number of events.

    Where there is a copy of this number, the new one takes its place.

    Raises:
        StateError: there is no commit, the state is damaged, or the disk is full. No copy appears.
    """
    folder = directory.copies_path
    unfinished = folder / "unfinished"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        store.copy_to(unfinished / "lmdb")
        events = verify(unfinished / "lmdb").checkpoint.progress.events
        (unfinished / "lmdb" / "lock.mdb").unlink(missing_ok=True)
        made = Copy(events, folder / str(events))
        if made.path.exists():
            shutil.rmtree(made.path)
        unfinished.rename(made.path)
        sync_entries(made.path)
    except OSError as error:
        raise failed(folder, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return made


def rotate(directory: StateDirectory, keep: int) -> None:
    """Remove all but the newest so many copies.

    Raises:
        StateError: the disk refuses.
    """
    for old in copies(directory)[keep:]:
        try:
            shutil.rmtree(old.path)
        except OSError as error:
            raise failed(old.path, error) from error


class Restored(NamedTuple):
    """What was put back, what it holds, where the former state lies, and the newer copies found damaged."""

    copy: Copy
    found: Verified
    aside: Path
    damaged: dict[int, str]


def restore(directory: StateDirectory, events: int | None = None) -> Restored:
    """Put a copy in the state's place: the newest sound one, or that of so many events.

    To be called under the lock of the directory.

    Raises:
        StateError: no sound copy, or the disk refuses.
    """
    chosen, found, damaged = _newest_sound(directory, events)
    aside = _free_name(directory.path)
    new = directory.path / "restored.new"
    try:
        shutil.rmtree(new, ignore_errors=True)
        LmdbStore.copy(chosen.lmdb_path, new)
        aside.mkdir(mode=0o700)
        if directory.order_log_path.exists():
            shutil.copy2(directory.order_log_path, aside)
        # Its runs follow a later commit. An empty log without a store is what a learner refuses.
        OrderLog.renew(directory.order_log_path)
        if directory.lmdb_path.exists():
            directory.lmdb_path.rename(aside / "lmdb")
        new.rename(directory.lmdb_path)
        sync_entries(directory.lmdb_path)
    except OSError as error:
        raise failed(directory.path, error) from error
    return Restored(chosen, found, aside, damaged)


def _newest_sound(directory: StateDirectory, events: int | None) -> tuple[Copy, Verified, dict[int, str]]:
    damaged: dict[int, str] = {}
    for copy in copies(directory):
        if events is None or copy.events == events:
            try:
                return copy, verify(copy.lmdb_path), damaged
            except StateError as error:
                damaged[copy.events] = str(error)
    which = "copy" if events is None else f"copy of {events:,} events"
    known = ", ".join(str(copy.events) for copy in copies(directory)) or "none"
    raise StateError(
        f"state.dir = {str(directory.path)!r}: no sound {which} (kept: {known}); put a copy of your own "
        "there, or begin anew in an empty directory"
    )


def _free_name(directory: Path) -> Path:
    number = 1
    while (path := directory / f"damaged-{number}").exists():
        number += 1
    return path
