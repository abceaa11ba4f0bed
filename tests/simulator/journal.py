"""What entered the state, in its order: a tape that outlives processes, and a witness against them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from streammeta.events import Conditions, Positions, Record
from streammeta.recording.flight import FlightRecorder
from streammeta.state.checkpoint import RecordingMark


class Violation(AssertionError):
    """An invariant does not hold."""


class Row(NamedTuple):
    """An iteration: its records, the topic they are of, and whether a compiled step serves."""

    records: tuple[Record, ...]
    topic_id: str
    compiled: bool


class Journal:
    """Implements `Tape`.

    After a kill the same iterations are applied again, in the same order, by the same executors, whatever of
    them the state already held: `witnessed` is what must come next.
    """

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.witnessed: list[Row] = []
        self.serving: Callable[[], tuple[str, bool]] = lambda: ("", False)
        """The topic's id, and whether a compiled step is in use, now."""
        self.applied = 0
        self._compiled = False

    def begin(self, mark: RecordingMark | None, *, witness: bool) -> None:
        """A life begins with the state of this mark; without `witness` another order may follow."""
        ends = [0, *accumulate(len(row.records) for row in self.rows)]
        records = mark.rows if mark else 0
        if records not in ends:
            raise Violation(f"the state holds {records} records, iterations ended after {ends}")
        # A life that was cut early has not come to the end of what others before it have shown.
        longest = max(self.rows, self.witnessed, key=len)
        self.witnessed = longest if witness else []
        self.rows = self.rows[: ends.index(records)]

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        row, place = Row(tuple(records), *self.serving()), len(self.rows)
        if row.compiled != self._compiled:
            raise Violation(f"iteration {place} is {told(row)}, of which the tape was not told")
        if place < len(self.witnessed) and self.witnessed[place] != row:
            raise Violation(
                f"iteration {place} was {told(self.witnessed[place])} before the crash, now it is {told(row)}"
            )
        self.rows.append(row)
        self.applied += len(records)

    def cut(self) -> None:
        """Rows are iterations."""

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        self._compiled = bool(compiled)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark:  # noqa: ARG002 (the protocol's)
        """As `Tape.sync`."""
        return RecordingMark("journal", sum(len(row.records) for row in self.rows))

    def committed(self) -> None:
        """Nothing to let go of."""


class Both:
    """Implements `Tape`: the journal, and a recorder, which must count the same records."""

    def __init__(self, journal: Journal, recorder: FlightRecorder) -> None:
        self._journal, self._recorder = journal, recorder

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        self._journal.keep(records)
        self._recorder.keep(records)

    def cut(self) -> None:
        """As `Tape.cut`."""
        self._recorder.cut()

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        self._journal.serve(compiled)
        self._recorder.serve(compiled)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark:
        """As `Tape.sync`."""
        mark = self._recorder.sync(positions, topic_id)
        if mark.rows != self._journal.sync(positions, topic_id).rows:
            raise Violation(f"the recorder keeps {mark.rows} records, which are not those applied")
        return mark

    def committed(self) -> None:
        """As `Tape.committed`."""
        self._recorder.committed()


def told(row: Row) -> str:
    """In words."""
    places = ", ".join(f"{record.partition}/{record.offset}" for record in row.records)
    return f"[{places}] {'compiled' if row.compiled else 'traced'}"
