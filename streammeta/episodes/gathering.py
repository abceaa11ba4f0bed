"""Which records are one iteration: up to `size` events of different tasks and equal shapes, in their order.

An iteration is closed when it is full, before a task repeats, before an event of other shapes (they could not
be stacked), before a record that changes what is kept of a task, be it one of these or another, or
`linger_seconds` after its first event. All but the last follow from the records alone; what the clock closed
the loop logs as a `Cut`, so that a replay closes there too.

Records that were refused when they were read, those that are repeated, questions, and those whose examples
make no episode yet, wait between the events: the state passes all of them or none. A record that makes
several episodes is closed alone, an iteration an episode: the state holds all of them or none.
Time is an argument, in seconds.
"""

import math
from collections.abc import Callable, Hashable
from typing import NamedTuple

from streammeta.episodes.cutter import Asked, Portion
from streammeta.errors import BadEvent
from streammeta.events import Change, Record, TaskEvent

Shapes = Callable[[TaskEvent], Hashable]
"""What must be equal in two events that are stacked."""


class Repeated(NamedTuple):
    """A record whose event another one brought before it."""


Read = TaskEvent | Portion | Asked | BadEvent | Change | Repeated
"""What a record came to: an event, what examples came to, a question, why it is refused, a change, or
nothing new."""


class Taken(NamedTuple):
    """A record, what was read from it, how long that took, and the event's identity where it is kept."""

    record: Record
    read: Read
    decode_seconds: float
    event: bytes = b""


def events_of(read: Read) -> tuple[TaskEvent, ...]:
    """What is to be learned from it."""
    if isinstance(read, TaskEvent):
        return (read,)
    return read.events if isinstance(read, Portion) else ()


def asked_of(read: Read) -> Asked | None:
    """The prediction that it asks for."""
    if isinstance(read, Portion):
        return read.asked
    return read if isinstance(read, Asked) else None


class Gathering:
    """The iteration that is being gathered: open from its first event until it is closed."""

    def __init__(self, size: int, linger_seconds: float, shapes: Shapes) -> None:
        self._size = size
        self._linger_seconds = linger_seconds
        self._shapes_of = shapes
        self._taken: list[Taken] = []
        self._tasks: set[str] = set()
        self._shapes: Hashable = None
        self._full = False
        self._due_at = math.inf

    @property
    def open(self) -> bool:
        """Whether an event waits."""
        return bool(self._tasks)

    @property
    def complete(self) -> bool:
        """Whether nothing further shall join: it is full, or has no event for refused records to wait for."""
        return not self._tasks or self._full

    def holds(self, task: str) -> bool:
        """Whether an event of this task waits."""
        return task in self._tasks

    def admits(self, read: Read) -> bool:
        """Whether it may join; else the iteration must be closed before it."""
        if not self._tasks:
            return True
        events = events_of(read)
        if not events and not isinstance(read, Change):
            return True
        return (
            len(events) == 1
            and events[0].task not in self._tasks
            and self._shapes_of(events[0]) == self._shapes
        )

    def take(self, taken: Taken, now_seconds: float) -> None:
        """Add what `admits` admitted."""
        self._taken.append(taken)
        events = events_of(taken.read)
        if not events:
            return
        if not self._tasks:
            self._due_at = now_seconds + self._linger_seconds
            self._shapes = self._shapes_of(events[0]) if self._size > 1 else None
        self._tasks.add(events[0].task)
        self._full = len(self._tasks) >= self._size or len(events) > 1

    def left_seconds(self, now_seconds: float) -> float:
        """How long it may still wait for events; infinity while none waits, not positive when it is due."""
        return self._due_at - now_seconds

    def close(self) -> list[Taken]:
        """What was taken, in order; the next iteration begins empty."""
        taken, self._taken = self._taken, []
        self._tasks.clear()
        self._full = False
        self._due_at = math.inf
        return taken
