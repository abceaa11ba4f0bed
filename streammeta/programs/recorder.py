"""The recorder: a topic into a recording, as it comes. Its place is in the recording itself, nowhere else."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from streammeta.clock import Clock
from streammeta.config import Config
from streammeta.errors import BrokerUnavailable
from streammeta.events import Positions, Record
from streammeta.observe.logs import configure_logging
from streammeta.programs.exposure import warn_of_exposures
from streammeta.recording.selection import Bound
from streammeta.recording.writer import Writer
from streammeta.runtime.controls import Controls
from streammeta.runtime.signals import signals_to
from streammeta.stream.base import Source
from streammeta.stream.kafka.source import KafkaSource
from streammeta.stream.kafka.times import since_offset, since_time

SYNC_SECONDS = 1.0
"""How much a crash may take back; what it takes is read again."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Range:
    """Records at or after `begin`, and before `end`; None: all."""

    begin: Bound | None = None
    end: Bound | None = None

    def holds(self, record: Record) -> bool:
        """Whether the record is in it."""
        return (self.begin is None or _place(record, self.begin) >= self.begin.value) and (
            self.end is None or _place(record, self.end) < self.end.value
        )


def _place(record: Record, bound: Bound) -> int:
    return record.offset if bound.kind == "offset" else record.timestamp_ms


@dataclass(frozen=True, slots=True)
class Recorded:
    """How far a recorder came.

    Attributes:
        rows, bytes, parts: Of the recording, those of earlier lives included; bytes on the disk.
        new_rows, new_bytes: Of this life; bytes of keys and values.
        seconds: Since its start.
        lag: Records behind the end of the topic.
    """

    rows: int
    bytes: int
    parts: int
    new_rows: int
    new_bytes: int
    seconds: float
    lag: int

    @property
    def rows_per_second(self) -> float:
        """The mean rate of this life."""
        return self.new_rows / self.seconds if self.seconds else 0.0


NOTHING = Recorded(0, 0, 0, 0, 0, 0.0, 0)


class Recorder:
    """Moves records from a source into a recording, each once, until told to stop or at the end."""

    def __init__(self, source: Source, writer: Writer, wanted: Range, clock: Clock) -> None:
        self._source, self._writer, self._range, self._clock = source, writer, wanted, clock
        self._began = self._synced_at = clock.monotonic()
        self._new_rows = self._new_bytes = self._lag = 0
        self._at: dict[int, int] = {}

    def run(
        self,
        begin: Positions,
        keep_going: Callable[[], bool],
        *,
        until_end: bool = False,
        tell: Callable[[Recorded], None] = lambda _: None,
    ) -> Recorded:
        """Record until `keep_going` says no, or the end is reached.

        Args:
            begin: Where a new recording begins; {}: where the configuration says.
            keep_going: Asked after every poll.
            until_end: Stop at the ends that the partitions have at the start.
            tell: Hears after every poll.

        Raises:
            LostOffsets: the log no longer holds what comes next; the recording would have a gap.
            StreammetaError: the source or the disk gave up.
        """
        self._start(begin)
        ends = self._ends(until_end=until_end)
        while keep_going() and not self._reached(ends):
            records = self._source.poll(POLL_SECONDS)
            self._follow()
            passed = self._source.passed()
            self._keep(list(self._new(records)))
            self._pass(passed)
            self._lag = sum(self._source.lag(self._at).values())
            ends = ends or self._ends(until_end=until_end)
            tell(self.recorded())
        self._writer.sync()
        return self.recorded()

    def recorded(self) -> Recorded:
        """How far it came."""
        return Recorded(
            rows=self._writer.rows,
            bytes=self._writer.size_bytes,
            parts=len(self._writer.manifest.parts),
            new_rows=self._new_rows,
            new_bytes=self._new_bytes,
            seconds=self._clock.monotonic() - self._began,
            lag=self._lag,
        )

    def _start(self, begin: Positions) -> None:
        """Go on where the recording ends, in the topic that it is of."""
        manifest = self._writer.manifest
        going_on = self._writer.positions if manifest.begin else begin
        self._at = dict(self._source.start(going_on, manifest.topic_id))
        self._writer.begin(self._at, self._source.identity())

    def _ends(self, *, until_end: bool) -> Positions | None:
        """Where to stop, as far as that is known by now."""
        end = self._range.end
        passed = end is not None and end.kind == "time" and self._clock.now() * 1000 >= end.value
        bound = end.value if end is not None and end.kind == "offset" else None
        if until_end or passed:
            return {p: at if bound is None else min(at, bound) for p, at in self._source.ends().items()}
        return None if bound is None else dict.fromkeys(self._at, bound)

    def _reached(self, ends: Positions | None) -> bool:
        positions = self._source.positions() if ends is not None else {}
        return ends is not None and all(positions.get(p, 0) >= end for p, end in ends.items())

    def _follow(self) -> None:
        """Go where the source had to go: the records that follow are from there."""
        moves = self._source.moved()
        if moves:
            self._at.update(moves)
            self._writer.begin({}, self._source.identity())

    def _pass(self, positions: Positions) -> None:
        """Go past what holds no record: transaction markers, aborted records, compacted gaps."""
        ahead = {p: offset for p, offset in positions.items() if offset > self._at.get(p, offset)}
        if ahead:
            self._at.update(ahead)
            self._writer.passed(self._at)

    def _new(self, records: Iterable[Record]) -> Iterator[Record]:
        """Those in the range that were not yet recorded."""
        for record in records:
            if record.offset >= self._at.get(record.partition, 0):
                self._at[record.partition] = record.offset + 1
                if self._range.holds(record):
                    yield record

    def _keep(self, records: list[Record]) -> None:
        self._writer.append(records)
        self._new_rows += len(records)
        self._new_bytes += sum(len(record.key or b"") + len(record.value or b"") for record in records)
        now = self._clock.monotonic()
        if now - self._synced_at >= SYNC_SECONDS:
            self._writer.sync()
            self._synced_at = now
        self._writer.roll_if_large()


def record(
    config: Config,
    directory: Path,
    wanted: Range,
    *,
    until_end: bool = False,
    tell: Callable[[Recorded], None] = lambda _: None,
) -> Recorded:
    """Record the topic of `config` until SIGTERM, SIGINT or the end; a part is made of what is left.

    Raises:
        StreammetaError: names what is wrong. What was recorded stays, and the next call goes on after it.
    """
    configure_logging(config.log.level, config.log.format)
    warn_of_exposures(config)
    controls, kafka = Controls(), config.kafka

    def keep_going() -> bool:
        return not controls.stop

    with signals_to(controls), closing(Writer(directory, "topic", kafka.topic)) as writer:
        recorder: Recorder | None = None
        try:
            begin = {} if writer.manifest.begin else _begin(config, wanted.begin, keep_going)
            with closing(KafkaSource(kafka, keep_going=keep_going)) as source:
                recorder = Recorder(source, writer, wanted, Clock())
                recorder.run(begin, keep_going, until_end=until_end, tell=tell)
        except BrokerUnavailable:
            if not controls.stop:  # else: stopped while it waited for the broker
                raise
        writer.roll()
        return recorder.recorded() if recorder is not None else NOTHING


def _begin(config: Config, bound: Bound | None, keep_going: Callable[[], bool]) -> Positions:
    if bound is None:
        return {}
    since = since_offset if bound.kind == "offset" else since_time
    return since(config.kafka, bound.value, keep_going)
