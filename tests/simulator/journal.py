"""What entered the state, in its order: a tape that outlives processes, and a witness against them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from streammeta.events import Positions, Record
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

    def begin(self, mark: RecordingMark | None, *, witness: bool) -> None:
        """A life begins with the state of this mark; without `witness` another order may follow."""
        rows = mark.rows if mark else 0
        if rows > len(self.rows):
            raise Violation(f"the state holds {rows} iterations, {len(self.rows)} were ever applied")
        # A life that was cut early has not come to the end of what others before it have shown.
        longest = max(self.rows, self.witnessed, key=len)
        self.witnessed = longest if witness else []
        self.rows = self.rows[:rows]

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        row, place = Row(tuple(records), *self.serving()), len(self.rows)
        if place < len(self.witnessed) and self.witnessed[place] != row:
            raise Violation(
                f"iteration {place} was {told(self.witnessed[place])} before the crash, now it is {told(row)}"
            )
        self.rows.append(row)
        self.applied += len(records)

    def cut(self) -> None:
        """Rows are iterations."""

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark:  # noqa: ARG002 (the protocol's)
        """As `Tape.sync`."""
        return RecordingMark("journal", len(self.rows))

    def committed(self) -> None:
        """Nothing to let go of."""


def told(row: Row) -> str:
    """In words."""
    places = ", ".join(f"{record.partition}/{record.offset}" for record in row.records)
    return f"[{places}] {'compiled' if row.compiled else 'traced'}"
