"""How a task is written down: its id as a key, its statistics as a fixed struct.

Both sides of the format live here; a change of either is a new layout number in `environment.py`.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from streammeta.errors import StateError
from streammeta.evaluation.drift import Series
from streammeta.state.series import pack_series, unpack_series
from streammeta.state.store import Blocks, TaskRow, TaskStats, Waiting

MAX_TASK_ID_BYTES = 256
"""Longest task id in UTF-8, as the codec admits it."""

RESTORE = "restore a copy (`streammeta checkpoint restore`), or start a new state in an empty directory"
"""The remedy for a damaged state."""

_WAITING = struct.Struct("<QQ")  # task, half
_STATS = struct.Struct("<QQq4d")  # events, last_event, last_seen_ms, three losses, memory_norm
_MORE_STATS = struct.Struct("<5d" + 6 * "dQ")  # accuracies, earlier; two blocks of three windows: sum, count
_RESET = struct.Struct("<Q")  # reset_after
KNOWN_BYTES: Final = _STATS.size + _MORE_STATS.size
"""What the statistics of every task take."""
_SIZES: Final = (_STATS.size, KNOWN_BYTES, KNOWN_BYTES + _RESET.size)


def task_key(task: str) -> bytes | None:
    r"""The id in UTF-8; None where it cannot be a task's id, so that no such task can be stored.

    >>> task_key("ü"), task_key("")
    (b'\xc3\xbc', None)
    """
    try:
        key = task.encode()
    except UnicodeEncodeError:
        return None
    return key if 1 <= len(key) <= MAX_TASK_ID_BYTES else None


def checked_key(task: str) -> bytes:
    """The id in UTF-8, to be stored.

    Raises:
        ValueError: it is empty, too long, or no Unicode text; the codec refuses such events.
    """
    key = task_key(task)
    if key is None:
        raise ValueError(f"task id {task!r}: must be 1 to {MAX_TASK_ID_BYTES} bytes of UTF-8")
    return key


def pack_stats(stats: TaskStats) -> bytes:
    """192 bytes, little-endian, more once reset or looked at for drift; floats keep every bit, NaN too."""
    return pack_known(stats) + pack_tail(stats.reset_after, stats.drift)


def pack_known(stats: TaskStats) -> bytes:
    """The first 192 bytes of them: all that every task has."""
    blocks = [block for window in stats.windows for block in _two(window)]
    return _STATS.pack(
        stats.events,
        stats.last_event,
        stats.last_seen_ms,
        stats.loss_meta,
        stats.loss_adapted,
        stats.loss_memory,
        stats.memory_norm,
    ) + _MORE_STATS.pack(
        stats.accuracy_meta,
        stats.accuracy_adapted,
        stats.accuracy_memory,
        stats.loss_earlier,
        stats.forgetting,
        *(number for block in blocks for number in block),
    )


def pack_tail(reset_after: int, drift: Series) -> bytes:
    """What follows where a task was reset, or is looked at for drift."""
    series = pack_series(drift)
    return _RESET.pack(reset_after) + series if reset_after or series else b""


def unpack_stats(packed: bytes) -> TaskStats:
    """The inverse of `pack_stats`; also of its first 56 bytes, all that older versions wrote.

    Raises:
        StateError: neither, so the state was damaged or written by something else.
    """
    if len(packed) not in _SIZES and len(packed) < _SIZES[2]:
        sizes = " or ".join(map(str, _SIZES))
        raise StateError(
            f"the state is damaged: statistics of {len(packed)} bytes where {sizes} belong; {RESTORE}"
        )
    known = _STATS.unpack(packed[: _STATS.size])
    if len(packed) == _STATS.size:
        return TaskStats(*known)
    meta, adapted, memory, earlier, forgetting, *blocks = _MORE_STATS.unpack(packed[_STATS.size : _SIZES[1]])
    windows = _window(*blocks[:4]), _window(*blocks[4:8]), _window(*blocks[8:])
    reset_after = _RESET.unpack(packed[_SIZES[1] : _SIZES[2]])[0] if len(packed) >= _SIZES[2] else 0
    drift = _series(packed[_SIZES[2] :])
    return TaskStats._make((*known, meta, adapted, memory, windows, earlier, forgetting, reset_after, drift))


def _window(total: float, count: int, next_total: float, next_count: int) -> Blocks:
    """The window's blocks that hold something."""
    first: Blocks = ((total, count),) if count else ()
    return (*first, (next_total, next_count)) if next_count else first


def _series(packed: bytes) -> Series:
    try:
        return unpack_series(packed)
    except ValueError as error:
        raise StateError(f"the state is damaged: drift of a task ({error}); {RESTORE}") from None


def _two(window: Blocks) -> Blocks:
    """The window's blocks, those that it does not have with a count of 0."""
    return (*window, *[(0.0, 0)] * (2 - len(window)))


def companions(present: Iterable[bool]) -> bytes:
    """One byte: bit n says whether the task is in the n-th sub-database behind `stats`."""
    return bytes([sum(there << number for number, there in enumerate(present))])


def pack_waiting(waiting: Waiting) -> bytes:
    """16 bytes, little-endian."""
    return _WAITING.pack(*waiting)


def unpack_waiting(packed: bytes) -> Waiting:
    """The inverse of `pack_waiting`.

    Raises:
        StateError: not 16 bytes, so the state was damaged.
    """
    if len(packed) != _WAITING.size:
        raise StateError(f"the state is damaged: {len(packed)} bytes where {_WAITING.size} belong; {RESTORE}")
    return Waiting(*_WAITING.unpack(packed))


class Packed(NamedTuple):
    """A `TaskRow` whose statistics are packed."""

    stats: bytes
    memory: bytes
    buffer: bytes
    waiting: Waiting | None

    def row(self) -> TaskRow:
        """With the statistics unpacked."""
        return TaskRow(unpack_stats(self.stats), *self[1:])


class PackedRows(Mapping[str, TaskRow | None]):
    """Rows as the store writes them, unpacked for whoever asks for one; None is a task to forget.

    Attributes:
        packed: Task -> row.
    """

    def __init__(self, packed: Mapping[str, Packed | None]) -> None:
        self.packed = packed

    @classmethod
    def of(cls, rows: Mapping[str, TaskRow | None]) -> "PackedRows":
        """The same rows, packed where they are not."""
        if isinstance(rows, cls):
            return rows
        return cls(
            {
                task: None if row is None else Packed(pack_stats(row.stats), *row[1:])
                for task, row in rows.items()
            }
        )

    def __getitem__(self, task: str) -> TaskRow | None:
        """One row; 4 µs."""
        packed = self.packed[task]
        return None if packed is None else packed.row()

    def __eq__(self, other: object) -> bool:
        """Whether they are the same, NaN too."""
        return self.packed == other.packed if isinstance(other, PackedRows) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as every mapping

    def __iter__(self) -> Iterator[str]:
        """Their tasks."""
        return iter(self.packed)

    def __len__(self) -> int:
        """How many."""
        return len(self.packed)
