"""The ids of events taken lately, so that one that is sent twice is learned once.

An id is known while at most `window` records were taken since its own. Only events that were taken into the
state have theirs here: one that was refused may be mended and sent again.

    block = up to 1,024 entries of 24 bytes: u64 number of the record, 16 bytes identity

Blocks are values of the store, each written at its commits only while it grows. Some 200 bytes of RAM an id.
"""

import struct
from collections.abc import Mapping
from typing import Final

from streammeta.errors import StateError
from streammeta.state.rows import RESTORE

BLOCK_IDS: Final = 1024
_ENTRY = struct.Struct("<Q16s")
BLOCK_BYTES: Final = BLOCK_IDS * _ENTRY.size


class EventIds:
    """A window over the ids of the stream.

    Args:
        window: Records during which an id is known; 0 knows none, and leaves the store its blocks.
        blocks: What the store holds.
        extent: The blocks that belong to the state, first and one past the last.

    Raises:
        StateError: other blocks are there, or one is damaged.
    """

    def __init__(
        self, window: int, blocks: Mapping[int, bytes] | None = None, extent: tuple[int, int] = (0, 0)
    ) -> None:
        stored = blocks or {}
        if sorted(stored) != [*range(*extent)]:
            raise StateError(
                f"the state is damaged: it holds {len(stored)} blocks of event ids, where those from "
                f"{extent[0]} to {extent[1]} belong; {RESTORE}"
            )
        self.window = window
        self._first, self._end = extent
        held = range(*extent) if window else ()
        self._blocks = {number: bytearray(_sound(stored[number])) for number in held}
        self._numbers = {
            event: number for block in self._blocks.values() for number, event in _ENTRY.iter_unpack(block)
        }
        self._changed: set[int] = set()

    @property
    def extent(self) -> tuple[int, int]:
        """The blocks, first and one past the last."""
        return self._first, self._end

    def __len__(self) -> int:
        """How many ids are held; those that the window has passed leave a block at a time."""
        return len(self._numbers)

    def known(self, event: bytes, number: int) -> bool:
        """Whether the record with this number brings an event that was taken within the window before it."""
        before = self._numbers.get(event)
        return before is not None and number - before <= self.window

    def add(self, event: bytes, number: int) -> None:
        """The event of this record was taken."""
        self._numbers[event] = number
        if self._first == self._end or len(self._blocks[self._end - 1]) >= BLOCK_BYTES:
            self._blocks[self._end] = bytearray()
            self._end += 1
            self._pass(number)
        self._blocks[self._end - 1] += _ENTRY.pack(number, event)
        self._changed.add(self._end - 1)

    def changed(self) -> dict[int, bytes | None]:
        """The blocks that are other than when this was asked last; None for one to forget."""
        changed, self._changed = self._changed, set()
        return {number: bytes(self._blocks[number]) if number in self._blocks else None for number in changed}

    def _pass(self, number: int) -> None:
        """Forget the blocks that the window has passed."""
        first = self._first
        while first < self._end - 1 and number - _last(self._blocks[first]) > self.window:
            first += 1
        self._forget(first)

    def _forget(self, end: int) -> None:
        for place in range(self._first, end):
            for number, event in _ENTRY.iter_unpack(self._blocks.pop(place)):
                if self._numbers[event] == number:
                    del self._numbers[event]
            self._changed.add(place)
        self._first = end


def _last(block: bytearray) -> int:
    number, _ = _ENTRY.unpack_from(block, len(block) - _ENTRY.size)
    return int(number)


def _sound(block: bytes) -> bytes:
    if not block or len(block) % _ENTRY.size or len(block) > BLOCK_BYTES:
        raise StateError(f"the state is damaged: a block of event ids of {len(block)} bytes; {RESTORE}")
    return block
