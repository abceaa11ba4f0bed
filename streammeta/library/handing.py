"""Events that are handed over, one by one or many: the daemon's intake without a stream.

Everything goes through the daemon's own intake and engine, so the same events in the same order come to the
same bits. What is handed over has no offset: no position of a state tells of it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from streammeta.errors import BadEvent
from streammeta.events import Change, Examples, HalfExamples, OrderEntry, Positions, Record, TaskEvent
from streammeta.outcomes import Learned, LearnedRow, Outcome, Refused, TaskChanged
from streammeta.runtime.intake import Intake
from streammeta.runtime.iteration import Result

HANDED: Final = -1
"""The partition of what was handed over."""

Content = TaskEvent | Examples | HalfExamples | Change


class NoOrderLog:
    """An `OrderLog` for what is not applied again."""

    def append(self, entries: Sequence[OrderEntry]) -> None:
        """Nothing."""

    def sync(self) -> None:
        """Nothing."""

    def insert(self, positions: Positions, entries: Sequence[OrderEntry]) -> None:
        """Nothing."""

    def pending(self, positions: Positions) -> list[OrderEntry]:  # noqa: ARG002 (the protocol's)
        """There is none."""
        return []

    def forget(self, positions: Positions) -> None:
        """Nothing."""


@dataclass
class Told:
    """Observer: what came of the events of one call.

    Attributes:
        refused: Number of the event in its call -> why it was refused.
        changed: The call changed what is kept of a task.
    """

    refused: dict[int, BadEvent] = field(default_factory=dict)
    changed: bool = False
    _each: Callable[[LearnedRow], object] | None = None

    def begin(self, each: Callable[[LearnedRow], object] | None = None) -> None:
        """A call begins; tell `each` of the events learned from."""
        self.refused, self.changed, self._each = {}, False, each

    def __call__(self, outcome: Outcome) -> None:
        """Take note."""
        if isinstance(outcome, Learned):
            if self._each is not None:
                for row in outcome.rows():
                    self._each(row)
        elif isinstance(outcome, TaskChanged):
            self.changed = outcome.known
        elif isinstance(outcome, Refused):
            self.refused[outcome.offset] = BadEvent(outcome.reason, outcome.message)


class Hand:
    """Hands events to an intake, which then reads nothing."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._content: Content | BadEvent | None = None
        intake.decode = self._decode

    def give(self, number: int, content: Content | BadEvent) -> None:
        """Let the event, number `number` of its call, join; learned from at the latest by `settle`."""
        intake = self._intake
        if intake.chunk_full:
            intake.settle()
        self._content = content
        time_ms = 0 if isinstance(content, BadEvent | Change) else content.time_ms
        intake.take(Record(intake.telling.topic, HANDED, number, time_ms, None, None))

    def learn(self) -> Result:
        """Learn now from all that was given; what came of the event given last. `settle` does the rest."""
        self._intake.close()
        return self._intake.apply()[-1]

    def settle(self) -> None:
        """Learn from all that was given, an iteration that is still open too; forget where it stood."""
        intake = self._intake
        intake.close()
        intake.settle()
        intake.ledger.positions.pop(HANDED, None)

    def _decode(self, _record: Record) -> Content:
        content = self._content
        if content is None or isinstance(content, BadEvent):
            raise content or AssertionError("nothing was given")
        return content
