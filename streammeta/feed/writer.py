"""The champion's side of the feed: a tape that writes what was applied, and harms nobody when it cannot.

What a crash lost of the feed is lost of the champion's state too, and is applied, and written, again: what
the feed holds already is passed over. Nothing is synced: where a power cut takes more from the feed than from
the state, the next segment begins behind a gap, and readers get what lies in it from the broker. So do they
when the disk refuses, or when they are further behind than `bound_bytes`.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from streammeta.events import Conditions, Positions, Record
from streammeta.feed.frames import (
    MAGIC,
    Base,
    Item,
    Past,
    Row,
    Rows,
    frame_of,
    items_of,
    row_of,
    segment_path,
    segments,
)

BOUND_BYTES: Final = 1 << 30
"""What the feed holds at most for readers that are behind."""
SEGMENT_BYTES: Final = 16 << 20
MOST_ROWS: Final = 512
"""Of a frame."""
FREE_SHARE: Final = 0.1
"""Of the free disk, the feed takes no more."""

log = structlog.get_logger(__name__)


def untold() -> None:
    """No reader waits."""


class FeedWriter:
    """A `Tape`; its files may be removed from another thread (`trim`), everything else is the loop's."""

    def __init__(
        self,
        directory: Path,
        begun: Positions,
        *,
        bound_bytes: int = BOUND_BYTES,
        segment_bytes: int = SEGMENT_BYTES,
        wake: Callable[[], None] = untold,
    ) -> None:
        """Nothing is written before the first `sync`, which says where the learner begins.

        Args:
            directory: Made where absent.
            begun: The positions of the state that the learner goes on from.
            bound_bytes: Of all segments.
            segment_bytes: A segment that is larger is followed by the next.
            wake: Called after each write.
        """
        self._directory, self._bound_bytes, self._segment_bytes = directory, bound_bytes, segment_bytes
        self._wake = wake
        self._applied = dict(begun)
        """Positions of the learner; `_fed` may be ahead of them after a crash."""
        self._fed: dict[int, int] = {}
        self._topic_id = ""
        self._number = -1
        self._file = -1
        self._size = 0
        self._waiting: list[Row] = []
        self._failed = False

    @property
    def applied(self) -> Positions:
        """The positions after what the learner has applied; of any thread."""
        return self._applied

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        for record in records:
            partition, after = record.partition, record.offset + 1
            self._applied[partition] = after
            if self._file >= 0 and after > self._fed.get(partition, 0):
                self._fed[partition] = after
                self._waiting.append(row_of(record))
        if len(self._waiting) >= MOST_ROWS:
            self.flush()

    def cut(self) -> None:
        """As `Tape.cut`: whoever learns from the feed gathers iterations of its own."""

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`: whoever learns from the feed has steps of its own."""

    def sync(self, positions: Positions, topic_id: str) -> None:
        """As `Tape.sync`, but for the disk: hands over all, and goes where the learner went."""
        self.flush()
        moved = any(positions.get(partition, 0) < at for partition, at in self._applied.items())
        try:
            if self._file < 0:
                self._resume(positions, topic_id, moved=moved)
            elif moved or topic_id != self._topic_id:
                self._begin(positions, topic_id, moved=True)
            else:
                self._pass_to(positions)
        except OSError as error:
            self._give_up(error)
        self._applied = dict(positions)

    def committed(self) -> None:
        """As `Tape.committed`."""

    def flush(self) -> None:
        """Hand what waits to the operating system, for readers to see."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._file < 0:
            return
        try:
            self._write(Rows(tuple(waiting)))
            if self._size >= self._segment_bytes:
                self._begin(self._fed, self._topic_id)
        except OSError as error:
            self._give_up(error)

    def trim(self, before: int) -> None:
        """Remove the segments below this number, which no reader needs."""
        for number in segments(self._directory):
            if number < min(before, self._number):
                segment_path(self._directory, number).unlink(missing_ok=True)

    def close(self) -> None:
        """Hand over what waits and let go of the file. May be called twice."""
        self.flush()
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _resume(self, positions: Positions, topic_id: str, *, moved: bool) -> None:
        """Go on in the last segment where it holds all that the state contains, else behind a gap."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        found = segments(self._directory)
        self._number = found[-1] if found else -1
        items, end_byte = self._read_last()
        base = next((item for item in items if isinstance(item, Base)), None)
        fed = _reached(items)
        same = base is not None and topic_id in ("", base.topic_id)
        whole = all(fed.get(partition, -1) >= offset for partition, offset in positions.items())
        if base is None or moved or not same or not whole:
            self._begin(positions, topic_id, moved=moved or (base is not None and not same))
            return
        self._file = os.open(segment_path(self._directory, self._number), os.O_WRONLY | os.O_APPEND)
        os.ftruncate(self._file, end_byte)
        self._fed, self._topic_id, self._size, self._failed = fed, base.topic_id, end_byte, False

    def _read_last(self) -> tuple[list[Item], int]:
        if self._number < 0:
            return [], 0
        content = segment_path(self._directory, self._number).read_bytes()
        found = list(items_of(content)) if content.startswith(MAGIC) else []
        return [item for item, _ in found], found[-1][1] if found else 0

    def _begin(self, positions: Positions, topic_id: str, *, moved: bool = False) -> None:
        """Begin the next segment; after a move, what was before it is of no use to who begins later."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        base = Base(dict(positions), topic_id, moved)
        path = segment_path(self._directory, self._number + 1)
        # Made whole under another name: a reader that sees a segment sees its base.
        new = path.with_name("new")
        new.write_bytes(MAGIC + frame_of(base))
        new.chmod(0o600)
        self._size = new.stat().st_size
        self._file = os.open(new, os.O_WRONLY | os.O_APPEND)
        new.replace(path)
        self._number += 1
        self._fed, self._topic_id, self._failed = dict(positions), topic_id, False
        if moved:
            self.trim(self._number)
        self._keep_bound()
        self._wake()

    def _keep_bound(self) -> None:
        """Remove the oldest segments beyond the bound; of who is that far behind, the broker has them."""
        sizes = {}
        for number in segments(self._directory):
            with suppress(FileNotFoundError):  # trimmed meanwhile
                sizes[number] = segment_path(self._directory, number).stat().st_size
        total = sum(sizes.values())
        free = shutil.disk_usage(self._directory).free + total
        bound_bytes = min(self._bound_bytes, int(FREE_SHARE * free))
        for number, size in sizes.items():
            if total <= bound_bytes or number >= self._number:
                return
            segment_path(self._directory, number).unlink(missing_ok=True)
            total -= size

    def _pass_to(self, positions: Positions) -> None:
        past = {p: offset for p, offset in positions.items() if offset > self._fed.get(p, 0)}
        if past:
            self._fed |= past
            self._write(Past(past))

    def _write(self, item: Item) -> None:
        frame = frame_of(item)
        if os.write(self._file, frame) != len(frame):
            raise OSError(0, "the disk is full")
        self._size += len(frame)
        self._wake()

    def _give_up(self, error: OSError) -> None:
        """Write no more until the next `sync`; told once."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)
        if not self._failed:
            log.warning(
                "the feed of the challengers cannot be written",
                directory=str(self._directory),
                reason=error.strerror,
                consequence="they read what they miss from the broker; this learner goes on",
            )
        self._failed = True


def _reached(items: Sequence[Item]) -> dict[int, int]:
    """The positions after these items."""
    reached: dict[int, int] = {}
    for item in items:
        if isinstance(item, Rows):
            reached |= {row[0]: row[1] + 1 for row in item.rows}
        else:
            reached |= item.positions
    return reached
