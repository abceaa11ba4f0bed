"""The writer of a recording: rows in, frames in the spool, and a part when there are enough of them.

Invariant: rows are in the order appended, each once, in the parts that the manifest names and then in the
spool. A part is made in an order that leaves this true after a crash between any two steps:

    1. the part, under a temporary name, on the disk; 2. its own name; 3. the manifest that names it; 4. an
    empty spool.

What 1 and 2 leave behind is written over later; a spool whose rows the manifest has is replaced on open.
"""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from streammeta.errors import RecordingError
from streammeta.events import Conditions, Record
from streammeta.recording import spool as spooling
from streammeta.recording.flaws import RowFlaw, of_records
from streammeta.recording.manifest import (
    FORMAT,
    NAME,
    Kind,
    Manifest,
    Stretch,
    check_size,
    read_manifest,
    write_manifest,
)
from streammeta.recording.part import write_part
from streammeta.recording.spool import Spool, stretches_of
from streammeta.recording.table import Tally, batch_of
from streammeta.state.directory import locked, unlock

PART_BYTES: Final = 64 << 20
"""Bytes of the spool that become a part; zstd makes a tenth to a half of them."""
FRAME_BYTES: Final = 16 << 20
"""Bytes that wait in memory at most before they become a frame."""
_ROW_BYTES = 200  # what a row takes beside its value, roughly


class Writer:
    """Appends to a recording, alone: the directory is locked until `close`. Not for several threads.

    Attributes:
        manifest: What is in parts.
        rows: All that was appended, on the disk or not.
        next: Partition -> the offset after its last row.
    """

    def __init__(self, directory: Path, kind: Kind, topic: str, *, part_bytes: int = PART_BYTES) -> None:
        """Open the recording, or make it.

        Raises:
            RecordingError: it is damaged, of another kind or topic, or the disk refuses.
            StateLocked: another process writes to it.
        """
        self.directory, self._part_bytes = directory, part_bytes
        self._waiting: list[Record] = []
        self._waiting_bytes = 0
        self._cuts: list[int] = []
        self._passed: dict[int, int] = {}
        self._flaws: dict[int, RowFlaw] = {}
        with self._explained():
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = locked(directory / "lock", "recording")
            try:
                self.manifest = self._opened(kind, topic)
                self._spool = Spool(directory, self.manifest.rows)
                self._take_stock()
            except BaseException:
                unlock(self._lock)
                raise

    def _opened(self, kind: Kind, topic: str) -> Manifest:
        if not (self.directory / NAME).exists():
            if any(self.directory.glob("part-*.parquet")) or (self.directory / spooling.NAME).exists():
                raise RecordingError(
                    f"recording {self.directory}: {NAME} is gone; restore it, or name a new directory"
                )
            return self._made(kind, topic)
        manifest = read_manifest(self.directory)
        if (manifest.kind, manifest.topic) != (kind, topic):
            if self._is_empty(manifest):  # its topic was misspelt, perhaps
                return self._made(kind, topic)
            raise RecordingError(
                f"{self.directory} holds a recording of kind {manifest.kind!r} of topic {manifest.topic!r}, "
                f"not of kind {kind!r} of topic {topic!r}; name another directory"
            )
        for part in manifest.parts:
            check_size(self.directory, part)
        return manifest

    def _is_empty(self, manifest: Manifest) -> bool:
        if manifest.rows:
            return False
        with closing(Spool(self.directory, 0)) as spool:
            return not spool.rows

    def _made(self, kind: Kind, topic: str) -> Manifest:
        manifest = Manifest(str(uuid.uuid4()), kind, topic)
        write_manifest(self.directory, manifest)
        return manifest

    def _take_stock(self) -> None:
        """Count what is in the spool."""
        self._tally = Tally(self.manifest.next)
        for frame in self._spool.frames:
            if frame.batch is not None:
                self._tally.add(frame.batch)
        self._compiled = self._stretches()[-1].compiled

    def _stretches(self) -> list[Stretch]:
        """Who learned the rows in the spool."""
        manifest = self.manifest
        return stretches_of(self._spool.frames, manifest.rows, manifest.compiled_at_end)

    @property
    def rows(self) -> int:
        """All that was appended."""
        return self.manifest.rows + self._tally.rows + len(self._waiting)

    @property
    def next(self) -> Mapping[int, int]:
        """Positions after what `flush` has seen."""
        return self._tally.next

    @property
    def size_bytes(self) -> int:
        """On the disk."""
        return self.manifest.bytes + self._spool.size_bytes

    def begin(self, positions: Mapping[int, int], topic_id: str, learner: str = "") -> None:
        """Say where the recording begins in partitions of which it has no row, of which topic, by whom."""
        self.flush()
        unread = {p: offset for p, offset in positions.items() if p not in self._tally.next}
        begin = {**self.manifest.begin, **unread}
        self._note(msgspec.structs.replace(self.manifest, begin=begin, topic_id=topic_id, learner=learner))

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """Note which compiled steps learn what is appended from now on."""
        names = tuple(sorted(compiled))
        if names == self._compiled:
            return
        self._note(msgspec.structs.replace(self.manifest, compiled={**self.manifest.compiled, **compiled}))
        self.flush()
        with self._explained():
            self._spool.serve(names)
        self._compiled = names

    def _note(self, manifest: Manifest) -> None:
        if manifest != self.manifest:
            self.manifest = msgspec.structs.replace(manifest, format=FORMAT)
            with self._explained():
                write_manifest(self.directory, self.manifest)

    @property
    def positions(self) -> dict[int, int]:
        """Where reading goes on, per partition: after its last row, or past what holds no record after it."""
        known = {**self.manifest.begin, **self._tally.next}
        return {p: max(offset, self.manifest.passed.get(p, offset)) for p, offset in known.items()}

    def passed(self, positions: Mapping[int, int]) -> None:
        """Note that the topic was read up to here, at the latest with the next `sync`."""
        self._passed.update(positions)

    def append(self, records: Sequence[Record]) -> None:
        """Take further rows; they are on the disk after the next `sync`."""
        if any(record.flaw is not None for record in records):
            self._flaws.update(of_records(records, self.rows))
        self._waiting += records
        self._waiting_bytes += sum(len(record.value or b"") + _ROW_BYTES for record in records)
        if self._waiting_bytes >= FRAME_BYTES:
            self.flush()

    def cut(self) -> None:
        """Note that an iteration ended after the last row, which the rows themselves may not say."""
        if self.rows and self._cuts[-1:] != [len(self._waiting)]:
            self._cuts.append(len(self._waiting))

    def flush(self) -> None:
        """Hand what waits in memory to the operating system: a killed process does not lose it."""
        if not (self._waiting or self._cuts):
            return
        batch = batch_of(self._waiting) if self._waiting else None
        with self._explained():
            if self._flaws:
                self._spool.append_flaws(self._flaws)
            self._spool.append(batch, tuple(self._cuts))
        self._flaws = {}
        if batch is not None:
            self._tally.add(batch)
        self._waiting, self._cuts, self._waiting_bytes = [], [], 0

    def sync(self) -> int:
        """Put all rows on the disk; how many there are."""
        self.flush()
        with self._explained():
            self._spool.sync()
        self._note_passed()
        return self.rows

    def _note_passed(self) -> None:
        # After the rows before it are on the disk: a crash between reads the gap again, never less.
        passed = {p: offset for p, offset in self._passed.items() if offset > self._tally.next.get(p, 0)}
        self._note(msgspec.structs.replace(self.manifest, passed=passed))

    def truncate(self, rows: int) -> None:
        """Forget what follows the first `rows` rows.

        Raises:
            RecordingError: parts hold more than these, or they were never written.
        """
        if not self.manifest.rows <= rows <= self.rows:
            raise RecordingError(
                f"recording {self.directory} has {self.rows} rows ({self.manifest.rows} in parts), but the "
                f"state was recorded up to row {rows}: they do not belong together. Name a new directory"
            )
        self.flush()
        with self._explained():
            self._spool.truncate(rows - self.manifest.rows)
        self._take_stock()

    def roll_if_large(self) -> None:
        """Make a part of the spool when it is large enough. All that was appended goes into it."""
        if self._spool.size_bytes >= self._part_bytes:
            self.roll()

    def roll(self) -> None:
        """Make a part of what is in the spool, if anything is."""
        self.sync()
        if not self._tally.rows:
            return
        with self._explained():
            part = write_part(self.directory, self.manifest, self._spool.frames, self._tally)
            self.manifest = self.manifest.with_part(part, self._tally.next, self._tally.rewinds)
            write_manifest(self.directory, self.manifest)
            self._spool.close()
            self._spool = Spool(self.directory, self.manifest.rows)
        self._tally = Tally(self.manifest.next)

    def close(self) -> None:
        """Make a part of what is left, and unlock."""
        try:
            self.roll()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Unlock, and leave what is in the spool to whoever opens it next. May be called twice."""
        self._spool.close()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            unlock(lock)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(
                f"recording {self.directory}: {error.strerror or error}; make room on the disk, or see that "
                "this user may write there, and start again: it goes on where it stopped"
            ) from error
