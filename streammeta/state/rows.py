"""How a task is written down: its id as a key, its statistics as a fixed struct.

Both sides of the format live here; a change of either is a new layout number in `environment.py`.
"""

import struct
from collections.abc import Iterable
from typing import Final

from streammeta.errors import StateError
from streammeta.evaluation.drift import Series
from streammeta.state.series import pack_series, unpack_series
from streammeta.state.store import Blocks, TaskStats, Waiting

MAX_TASK_ID_BYTES = 256
"""Longest task id in UTF-8, as the codec admits it."""

RESTORE = "restore a copy (`streammeta checkpoint restore`), or start a new state in an empty directory"
"""The remedy for a damaged state."""

_WAITING = struct.Struct("<QQ")  # task, half
_STATS = struct.Struct("<QQq4d")  # events, last_event, last_seen_ms, three losses, memory_norm
_MORE_STATS = struct.Struct("<5d" + 6 * "dQ")  # accuracies, earlier; two blocks of three windows: sum, count
_RESET = struct.Struct("<Q")  # reset_after
_SIZES: Final = (_STATS.size, _STATS.size + _MORE_STATS.size, _STATS.size + _MORE_STATS.size + _RESET.size)


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
    blocks = [block for window in stats.windows for block in _two(window)]
    known = _STATS.pack(
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
    series = pack_series(stats.drift)
    return known + _RESET.pack(stats.reset_after) + series if stats.reset_after or series else known


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
    meta, adapted, memory, earlier, forgetting, *numbers = _MORE_STATS.unpack(packed[_STATS.size : _SIZES[1]])
    blocks = [(total, count) for total, count in zip(numbers[::2], numbers[1::2], strict=True)]
    return TaskStats(*known)._replace(
        accuracy_meta=meta,
        accuracy_adapted=adapted,
        accuracy_memory=memory,
        loss_earlier=earlier,
        forgetting=forgetting,
        windows=tuple(tuple(block for block in blocks[at : at + 2] if block[1]) for at in (0, 2, 4)),
        reset_after=_RESET.unpack(packed[_SIZES[1] : _SIZES[2]])[0] if len(packed) >= _SIZES[2] else 0,
        drift=_series(packed[_SIZES[2] :]),
    )


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
