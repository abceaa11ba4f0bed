"""How a task is written down: its id as a key, its statistics as a fixed struct.

Both sides of the format live here; a change of either is a new layout number in `environment.py`.
"""

import struct

from streammeta.errors import StateError
from streammeta.store.base import TaskStats, Waiting

MAX_TASK_ID_BYTES = 256
"""Longest task id in UTF-8, as the codec admits it."""

RESTORE = "restore a copy, or start a new state in an empty directory"
"""The remedy for a damaged state."""

_WAITING = struct.Struct("<QQ")  # task, half
_STATS = struct.Struct("<QQq4d")  # events, last_event, last_seen_ms, three losses, memory_norm


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
    """56 bytes, little-endian; floats keep every bit, NaN too."""
    return _STATS.pack(
        stats.events,
        stats.last_event,
        stats.last_seen_ms,
        stats.loss_meta,
        stats.loss_adapted,
        stats.loss_memory,
        stats.memory_norm,
    )


def unpack_stats(packed: bytes) -> TaskStats:
    """The inverse of `pack_stats`.

    Raises:
        StateError: not 56 bytes, so the state was damaged or written by something else.
    """
    if len(packed) != _STATS.size:
        raise StateError(
            f"the state is damaged: statistics of {len(packed)} bytes where {_STATS.size} belong; {RESTORE}"
        )
    return TaskStats(*_STATS.unpack(packed))


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
