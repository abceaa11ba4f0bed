"""What goes along with the loop: a recorder of what is learned, or the recording that is replayed.

Invariant: a tape is told of records in the order in which they enter the state, and of no others.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from streammeta.events import Conditions, Positions, Record
from streammeta.state.checkpoint import RecordingMark


class Tape(Protocol):
    """Told of every iteration; asked before every commit where the state then stands."""

    def keep(self, records: Sequence[Record]) -> None:
        """These were applied, as one iteration."""

    def cut(self) -> None:
        """What comes next is another iteration than what was kept last; the records may not say so."""

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """What comes next is learned by these compiled steps, each the iterations it was made for."""

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:
        """Put what was kept on the disk; where the state that is committed next stands in it.

        Raises:
            RecordingError: the disk is full or fails; nothing must be committed.
        """

    def committed(self) -> None:
        """The state that `sync` was asked for is committed; what was kept since then is not."""


class NoTape:
    """A `Tape` that keeps nothing."""

    def keep(self, records: Sequence[Record]) -> None:
        """Nothing."""

    def cut(self) -> None:
        """Nothing."""

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """Nothing."""

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:  # noqa: ARG002 (unused)
        """The state belongs to no recording."""
        return None

    def committed(self) -> None:
        """Nothing."""


class Tapes:
    """Several tapes as one; the first that knows where the state stands in a recording says so."""

    def __init__(self, *tapes: Tape) -> None:
        self._tapes = tapes

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        for tape in self._tapes:
            tape.keep(records)

    def cut(self) -> None:
        """As `Tape.cut`."""
        for tape in self._tapes:
            tape.cut()

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        for tape in self._tapes:
            tape.serve(compiled)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:
        """As `Tape.sync`."""
        marks = [tape.sync(positions, topic_id) for tape in self._tapes]
        return next((mark for mark in marks if mark is not None), None)

    def committed(self) -> None:
        """As `Tape.committed`."""
        for tape in self._tapes:
            tape.committed()
