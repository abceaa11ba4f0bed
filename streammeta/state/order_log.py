"""The order log: what was applied since the last commit, in which order, what was cut, who computed it.

    file   = header, entries
    header = 16 bytes of magic, u32 format version
    entry  = u8 kind, i32 partition, i64 first, i64 end, u32 crc32 of what precedes it

All little-endian; every kind of entry has this size and three numbers. Kind 1 is a run; kind 2 is a cut, its
numbers are 0: the iteration that was open after the entries before it was closed there. Kind 3 is a switch to
the compiled step whose 128 bits of name are the two i64 (partition 1), or to traced steps (partition 0).

Invariant: what `append` was given is with the operating system when it returns, so a killed process loses
nothing. There is no fsync but by `sync`: a power cut may lose the end of the log, which then is dropped on
open. Events are learned exactly once all the same, only their interleaving since the last commit may differ.
Who has told the outside what follows from the order (answers in the stream) has synced it before.
"""

import struct
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from streammeta.errors import StateError
from streammeta.events import Cut, OrderEntry, Passed, Positions, Run, Switch
from streammeta.state.files import FILES, Files

log = structlog.get_logger(__name__)

MAGIC: Final = b"streammeta order"
VERSION: Final = 1
HEADER: Final = MAGIC + struct.pack("<I", VERSION)

_BODY = struct.Struct("<Biqq")
_CRC = struct.Struct("<I")
_HALVES = struct.Struct("<qq")
_ENTRY_BYTES = _BODY.size + _CRC.size
_RUN = 1
_CUT = 2
_SWITCH = 3
_PASSED = 4


class OrderLog:
    """An append-only file of entries. One process opens it, under the lock of the state directory."""

    def __init__(self, path: Path, *, expected: bool = False, files: Files = FILES) -> None:
        """Open the log, make it where absent, and drop a tail that a crash has torn.

        Args:
            path: The file.
            expected: There is a state that has committed, so that there was a log: an absent one is told.
            files: Where the path is.

        Raises:
            StateError: the file is not an order log, is of another version, or cannot be opened.
        """
        self._path, self._files = path, files
        try:
            content = files.read(path)
            self._entries = _parse(content, path)
            if expected and len(content) < len(HEADER):
                _tell_lost(path)
            _tell_dropped(path, (len(content) - len(HEADER)) // _ENTRY_BYTES - len(self._entries))
            self._file, self._unsynced, self._syncs = files.open(path), True, False
            self._cut_to(self._entries, content)
        except OSError as error:
            raise self._failed(error) from error

    @staticmethod
    def renew(path: Path) -> None:
        """Put an empty log there, in one step: for a state that was brought from elsewhere.

        Raises:
            OSError: the disk is full or fails.
        """
        new = path.with_name(path.name + ".new")
        new.write_bytes(HEADER)
        new.chmod(0o600)
        new.replace(path)

    def append(self, entries: Sequence[OrderEntry]) -> None:
        """Hand the entries to the operating system, in one write, before what they name is applied.

        Raises:
            StateError: the disk is full or fails. None of the entries is logged.
        """
        if not entries:
            return
        packed = _packed(entries)
        try:
            self._write(self._file, packed)
        except OSError as error:
            self._files.truncate(self._file, len(HEADER) + _ENTRY_BYTES * len(self._entries))
            raise self._failed(error) from error
        self._entries.extend(entries)
        self._unsynced = True

    def sync(self) -> None:
        """Put the log on the disk, and from now on each file that takes its place.

        Raises:
            StateError: the disk fails.
        """
        if not self._unsynced:
            return
        try:
            self._files.sync(self._file)
        except OSError as error:
            raise self._failed(error) from error
        self._unsynced, self._syncs = False, True

    def insert(self, positions: Positions, entries: Sequence[OrderEntry]) -> None:
        """Log the entries before all that was logged and `positions` does not contain.

        `positions` are reached when what was logged is applied in its order. Atomic, as `forget`.

        Raises:
            StateError: the disk is full or fails. None of the entries is logged.
        """
        before, after = _split(self._entries, positions)
        try:
            self._replace_with([*before, *entries, *after])
        except OSError as error:
            raise self._failed(error) from error
        self._entries = [*before, *entries, *after]

    def pending(self, positions: Positions) -> list[OrderEntry]:
        """The logged runs that a state at `positions` does not contain, trimmed, and the cuts after each.

        In logged order. A cut that no such run precedes closed what the state contains: it is left out. So is
        a switch that precedes a run which the state contains, or after which nothing was applied.
        """
        pending, switches, open_run = list[OrderEntry](), list[Switch](), False
        for entry in self._entries:
            if isinstance(entry, Switch):
                switches.append(entry)
            elif isinstance(entry, Passed):
                if entry.offset >= positions.get(entry.partition, 0):
                    pending.append(entry)
            elif isinstance(entry, Run):
                run = entry._replace(first=max(entry.first, positions.get(entry.partition, 0)))
                if run.first > entry.first:  # what was applied before it, and under what, is in the state
                    switches.clear()
                if run.first < run.end:
                    pending += [*switches, run]
                    switches, open_run = [], True
            elif open_run:
                pending += [*switches, entry]
                switches, open_run = [], False
        return pending

    def forget(self, positions: Positions) -> None:
        """Keep only what `pending(positions)` gives: after a commit at `positions`, normally nothing.

        Atomic: after a crash the log is the old one or the new one, and either serves.

        Raises:
            StateError: the disk is full or fails. The log stays as it was.
        """
        remaining = self.pending(positions)
        try:
            if not remaining:
                self._files.truncate(self._file, len(HEADER))
            elif remaining != self._entries:
                self._replace_with(remaining)
        except OSError as error:
            raise self._failed(error) from error
        self._entries = remaining

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._file >= 0:
            self._files.close(self._file)
            self._file = -1

    def _cut_to(self, entries: Sequence[OrderEntry], content: bytes) -> None:
        """Make the file what was understood of its content."""
        if content.startswith(HEADER):
            self._files.truncate(self._file, len(HEADER) + _ENTRY_BYTES * len(entries))
        else:
            self._files.truncate(self._file, 0)
            self._write(self._file, HEADER)

    def _replace_with(self, entries: Sequence[OrderEntry]) -> None:
        new_path = self._path.with_name(self._path.name + ".new")
        new_file = self._files.open(new_path, anew=True)
        try:
            self._write(new_file, HEADER + _packed(entries))
            if self._syncs:
                self._files.sync(new_file)
            self._files.rename(new_path, self._path)
        except BaseException:
            self._files.close(new_file)
            raise
        self._files.close(self._file)
        self._file = new_file

    def _write(self, file: int, content: bytes) -> None:
        written = self._files.write(file, content)
        if written != len(content):
            raise OSError(0, f"only {written} of {len(content)} bytes were written, the disk is full")

    def _failed(self, error: OSError) -> StateError:
        return StateError(
            f"order log {self._path}: {error.strerror}; make room on the disk, or see that this user may "
            "read and write the file, then start again"
        )


def _split(entries: Sequence[OrderEntry], at: Positions) -> tuple[list[OrderEntry], list[OrderEntry]]:
    """The entries up to `at`, and those from there on; the run in which it lies is parted."""
    for number, run in enumerate(entries):
        if isinstance(run, Run) and run.end > at.get(run.partition, 0):
            place = max(run.first, at.get(run.partition, 0))
            begun = [run._replace(end=place)] if place > run.first else []
            return [*entries[:number], *begun], [run._replace(first=place), *entries[number + 1 :]]
    return [*entries], []


def _tell_dropped(path: Path, entries: int) -> None:
    """A torn tail is no whole entry; more than that is damage, and breaks the promise of the same bits."""
    if entries > 0:
        log.warning(
            "order log damaged",
            path=str(path),
            entries_dropped=entries,
            consequence="events stay exactly once; their interleaving since the last checkpoint may differ",
        )


def _tell_lost(path: Path) -> None:
    log.warning(
        "order log absent or cut short",
        path=str(path),
        consequence="events stay exactly once; what was learned after the last checkpoint, if anything, is "
        "learned again from the topic, but partitions may interleave in another order",
    )


def _packed(entries: Iterable[OrderEntry]) -> bytes:
    return b"".join(body + _CRC.pack(zlib.crc32(body)) for body in map(_body, entries))


def _body(entry: OrderEntry) -> bytes:
    if isinstance(entry, Run):
        return _BODY.pack(_RUN, *entry)
    if isinstance(entry, Cut):
        return _BODY.pack(_CUT, 0, 0, 0)
    if isinstance(entry, Passed):
        return _BODY.pack(_PASSED, entry.partition, entry.offset, entry.died + 2 * (entry.stage == "step"))
    halves = _HALVES.unpack(bytes.fromhex(entry.compiled)) if entry.compiled else (0, 0)
    return _BODY.pack(_SWITCH, int(bool(entry.compiled)), *halves)


def _entry(kind: int, partition: int, first: int, end: int) -> OrderEntry:
    if kind == _RUN:
        return Run(partition, first, end)
    if kind == _CUT:
        return Cut()
    if kind == _PASSED:
        return Passed(partition, first, stage="step" if end & 2 else "decode", died=bool(end & 1))
    return Switch(_HALVES.pack(first, end).hex() if partition else "")


def _parse(content: bytes, path: Path) -> list[OrderEntry]:
    """The entries up to the first one that is torn or damaged."""
    # A killed first write leaves part of a header; a power cut can leave zeros in place of what was written.
    if HEADER.startswith(content.rstrip(b"\0")):
        return []
    if not content.startswith(HEADER):
        raise _foreign(content, path)
    entries: list[OrderEntry] = []
    for start in range(len(HEADER), len(content) - _ENTRY_BYTES + 1, _ENTRY_BYTES):
        body = content[start : start + _BODY.size]
        if _CRC.unpack_from(content, start + _BODY.size) != (zlib.crc32(body),):
            break
        kind, *numbers = _BODY.unpack(body)
        if kind not in (_RUN, _CUT, _SWITCH, _PASSED):
            raise StateError(
                f"order log {path}: entry of unknown kind {kind}; a newer streammeta wrote it, use that one"
            )
        entries.append(_entry(kind, *numbers))
    return entries


def _foreign(content: bytes, path: Path) -> StateError:
    if content.startswith(MAGIC):
        return StateError(
            f"order log {path}: written by another version of streammeta (this one reads format {VERSION}); "
            "use the version that wrote it"
        )
    return StateError(f"order log {path}: this file is not an order log; move it away, or name another state")
