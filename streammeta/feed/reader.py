"""A challenger's side of the feed: its items, in order, as they are written."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from streammeta.events import Positions
from streammeta.feed.frames import MAGIC, Base, Item, next_item, segment_path, segments

_READ_BYTES: Final = 1 << 20


class FeedReader:
    """Goes through the segments. A segment that is removed while it is read is read to its end."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.number = -1
        """The segment that is being read."""
        self._file = -1
        self._content = b""
        self._read_to = 0
        self._place = 0

    def bases(self) -> Iterator[tuple[int, Base]]:
        """The segments there and where they begin, oldest first."""
        for number in segments(self._directory):
            base = self._base(number)
            if base is not None:
                yield number, base

    def first(self, positions: Positions, topic_id: str) -> tuple[int, Base] | None:
        """The newest segment that holds all beyond these positions, else the oldest; None where none is."""
        chosen: tuple[int, Base] | None = None
        for number, base in self.bases():
            within = all(offset <= positions.get(p, 0) for p, offset in base.positions.items())
            if chosen is None or (within and topic_id in ("", base.topic_id)):
                chosen = number, base
        return chosen

    def open(self, number: int) -> None:
        """Begin with this segment: its base is the next item.

        Raises:
            FileNotFoundError: it was removed meanwhile.
        """
        file = os.open(segment_path(self._directory, number), os.O_RDONLY)
        self.close()
        self._file, self.number = file, number
        self._content, self._read_to, self._place = b"", len(MAGIC), 0

    def next(self) -> Item | None:
        """The next item; None where none is written yet."""
        found = self._next_here()
        if found is not None or self._file < 0:
            return found
        after = [number for number in segments(self._directory) if number > self.number]
        if not after:
            return None
        found = self._next_here()  # written before the next segment was made
        if found is not None:
            return found
        try:
            self.open(after[0])
        except FileNotFoundError:
            return None  # overtaken: there is a newer one by now
        return self._next_here()

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def _next_here(self) -> Item | None:
        if self._file < 0:
            return None
        found = next_item(self._content, self._place)
        if found is None and self._fill():
            found = next_item(self._content, self._place)
        if found is None:
            # What is not whole is read again: its writer may have died within it.
            self._content, self._read_to, self._place = b"", self._read_to - self._left, 0
            return None
        item, self._place = found
        return item

    @property
    def _left(self) -> int:
        return len(self._content) - self._place

    def _fill(self) -> bool:
        """Read on to the end of the file, or far enough for a frame; whether anything came."""
        kept, size = self._content[self._place :], max(_READ_BYTES, 2 * self._left)
        more = os.pread(self._file, size, self._read_to)
        while more and len(more) == size and next_item(kept + more, 0) is None:
            size *= 2
            more = os.pread(self._file, size, self._read_to)
        self._content, self._place = kept + more, 0
        self._read_to += len(more)
        return bool(more)

    def _base(self, number: int) -> Base | None:
        try:
            content = segment_path(self._directory, number).open("rb")
        except FileNotFoundError:
            return None
        with content as file:
            found = next_item(file.read(_READ_BYTES), len(MAGIC))
        return found[0] if found is not None and isinstance(found[0], Base) else None
