"""A recording as the loop's source, in recorded order across partitions; it keeps the place in it as well.

The loop is told of each cut before the records that follow it, so iterations are those of the daemon that
recorded. Time does not count: nothing waits, and no iteration is closed by a clock.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from streammeta.errors import RecordingError
from streammeta.events import Condition, Conditions, Positions, Record, Run
from streammeta.recording.manifest import Stretch
from streammeta.recording.reader import Chunk, Recording
from streammeta.recording.selection import Selection
from streammeta.state.checkpoint import Checkpoint, RecordingMark
from streammeta.stream.base import Waiting, untold

POLL_ROWS = 500


class ReplaySource:
    """`Source` over a recording, and the `Tape` that marks in the state how far it was replayed."""

    def __init__(self, recording: Recording, selection: Selection, *, follows: bool = True) -> None:
        """Begins with the first wanted row, or where `resume` says.

        `follows`: tell who learned the rows, for the same to learn from them again.
        """
        self._follows = follows and recording.manifest.kind == "learned"
        self._stretches = deque[Stretch]()
        self._compiled: tuple[str, ...] | None = None
        self._recording, self._selection = recording, selection
        self._first_row = self._kept_rows = 0
        self._chunks: Iterator[Chunk] = iter(())
        self._records: Sequence[Record] = ()
        self._rows: Sequence[int] = ()
        self._place = 0
        self._seen_row = 0
        self._exhausted = False
        self._cuts: deque[int] = deque()
        self._is_cut = False
        self._moves: dict[int, int] = {}
        self._at: dict[int, int] = {}
        self._polled_rows: deque[int] = deque()
        """Rows that were polled and are not yet in the state."""

    def resume(self, begun: Checkpoint) -> None:
        """Go on after what the state contains; called before `start`.

        Raises:
            RecordingError: the state's positions do not say where that is.
        """
        mark = begun.recording
        if mark is not None and mark.id == self._recording.id:
            self._first_row = self._kept_rows = mark.rows
        elif begun.positions and self._recording.rewinds:
            raise RecordingError(
                f"recording {self._recording.directory} holds a topic that was made anew or truncated, and "
                "the state was not recorded with it: its positions do not say where to go on; replay it whole"
            )
        if not self._recording.rewinds:
            self._selection = replace(self._selection, after=begun.positions)

    def start(self, positions: Positions, identity: str = "") -> Positions:  # noqa: ARG002 (the protocol's)
        """Begin; every recorded partition stands where the state is, or where the recording begins."""
        self._at = {**self._recording.manifest.begin, **positions}
        self._chunks = self._recording.chunks(self._first_row, self._selection)
        return dict(self._at)

    def identity(self) -> str:
        """That of the recorded topic."""
        return self._recording.manifest.topic_id

    def moved(self) -> Positions:
        """Where the recorded daemon went back, because the topic was made anew or truncated."""
        moves, self._moves = self._moves, {}
        return moves

    def poll(self, timeout_seconds: float) -> Sequence[Record]:  # noqa: ARG002 (nothing is waited for)
        """The next rows, up to the next cut.

        Raises:
            RecordingError: a part is gone, truncated or edited.
        """
        if not self._load():
            return []
        self._is_cut = self._pass_cuts() | self._pass_stretches() or self._is_cut
        end = min(self._place + POLL_ROWS, len(self._records))
        for row in (*[*self._cuts][:1], *[stretch.row for stretch in self._stretches][:1]):
            end = min(end, bisect_left(self._rows, row, self._place))
        if self._recording.rewinds:
            end = self._before_rewind(end)
        return self._take(end)

    def _load(self) -> bool:
        """Whether a wanted row is at hand, after reading on where none was."""
        while self._place >= len(self._records):
            chunk = next(self._chunks, None)
            if chunk is None:
                self._exhausted = True
                return False
            self._records = chunk.records(self._recording.manifest.topic)
            self._rows, self._place, self._seen_row = chunk.rows, 0, chunk.end_row
            self._cuts.extend(chunk.cuts)
            self._stretches.extend(chunk.stretches)
        return True

    def _pass_cuts(self) -> bool:
        """Whether a cut lies before the next row; it is passed."""
        passed = False
        while self._cuts and self._cuts[0] <= self._rows[self._place]:
            self._cuts.popleft()
            passed = True
        return passed

    def _pass_stretches(self) -> bool:
        """Whether other executors learned the next row than the one before: an iteration ended between."""
        before = self._compiled
        while self._stretches and self._stretches[0].row <= self._rows[self._place]:
            self._compiled = self._stretches.popleft().compiled
        return self._follows and before is not None and before != self._compiled

    def _before_rewind(self, end: int) -> int:
        """Where offsets of a partition go back: a poll begins there, so that `moved` can tell of it first."""
        at = dict(self._at)
        for place in range(self._place, end):
            record = self._records[place]
            if record.offset < at.get(record.partition, 0):
                if place > self._place:
                    return place
                self._moves[record.partition] = record.offset
            at[record.partition] = record.offset + 1
        return end

    def _take(self, end: int) -> Sequence[Record]:
        records = self._records[self._place : end]
        self._polled_rows.extend(self._rows[self._place : end])
        self._at.update((record.partition, record.offset + 1) for record in records)
        self._place = end
        return records

    def is_cut(self) -> bool:
        """As `Source.is_cut`."""
        is_cut, self._is_cut = self._is_cut, False
        return is_cut

    def executors(self) -> Mapping[str, Conditions] | None:
        """As `Source.executors`."""
        if not self._follows:
            return None
        return {name: self._recording.manifest.compiled[name] for name in self._compiled or ()}

    def replayed(self) -> float | None:
        """As `Source.replayed`; rows that were not wanted count as read."""
        if self._exhausted or not self._recording.rows:
            return 1.0
        left = len(self._records) - self._place
        read: int = max(0, self._seen_row - left)
        return read / self._recording.rows

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:  # noqa: ARG002 (no waits)
        """The run is what comes next: the recording is in the order that was logged."""
        records: list[Record] = []
        while self._load():
            record = self._records[self._place]
            if record.partition != run.partition or not run.first <= record.offset < run.end:
                break
            self._pass_cuts()
            self._pass_stretches()
            records += self._take(self._place + 1)
        self._at[run.partition] = run.end
        return records

    def ends(self) -> Positions:
        """As if a marker followed the last row: passed when all rows were looked at, wanted or not."""
        return {partition: offset + 1 for partition, offset in self._recording.next.items()}

    def positions(self) -> Positions:
        """After what was polled; at the end past the markers."""
        return self.ends() if self._exhausted else self._at

    def passed(self) -> Positions:
        """What lay between the rows is not recorded."""
        return {}

    def lag(self, applied: Positions) -> Mapping[int, int]:  # noqa: ARG002 (rows that are not wanted count as applied)
        """Offsets that are still to come, wanted or not."""
        ends = self._recording.next
        if self._exhausted:
            return dict.fromkeys(ends, 0)
        return {p: max(0, end - self._at.get(p, 0)) for p, end in ends.items()}

    def condition(self, applied: Positions) -> Condition:  # noqa: ARG002 (the protocol's)
        """There is nothing to be cut off from."""
        return Condition()

    def committed(self, positions: Positions | None = None) -> None:
        """Nobody to tell, neither as a source nor as a tape."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`: so many of the polled rows are in the state now."""
        for _ in records:
            self._kept_rows = self._polled_rows.popleft() + 1

    def cut(self) -> None:
        """As `Tape.cut`: the recording has it already."""

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`: the recording has it already."""

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark:  # noqa: ARG002 (the protocol's)
        """As `Tape.sync`."""
        return RecordingMark(self._recording.id, self._kept_rows, replayed=True)
