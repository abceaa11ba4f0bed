"""`recording`: writing and reading a million small events, and what `run --record` costs the learner."""

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.daemons import Marks, daemon, generated
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Rounds, turns
from streammeta.events import Conditions, Positions, Record
from streammeta.recording.flight import FlightRecorder
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.recording.source import ReplaySource
from streammeta.recording.writer import Writer
from streammeta.runtime.tape import Tape
from streammeta.state.checkpoint import Checkpoint, RecordingMark

EVENTS: dict[Size, tuple[int, int]] = {
    "small": (2000, 60),
    "usual": (1_000_000, 3000),
    "full": (1_000_000, 10_000),
}
"""Small ones that are written and read; those that are learned."""
ROUNDS: dict[Size, int] = {"small": 1, "usual": 3, "full": 5}
Given = TypeVar("Given")
_HEADERS: Final = (("content-type", b"application/msgpack"),)


def recording(plan: Plan) -> Iterator[Row]:
    """Rows a second, bytes a row, and the share of the learner's time that the flight recorder takes."""
    (small, learned), rounds = EVENTS[plan.size], plan.rounds_of(ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "small"
        yield Row(f"write, {small:,} events of 100 B", small / _write(directory, small), "events/s")
        read = turns({"read": partial(_read, directory, small)}, rounds, uncounted=plan.uncounted)["read"]
        yield Row("read as records, the same", small / read.median, "events/s", None, rounds)
        size_bytes = sum(part.bytes for part in Recording(directory).manifest.parts)
        yield Row("on the disk, an event", size_bytes / small, "B")
    taken = [apart(__name__, "cost", events=learned) for _ in range(rounds)]
    recorder, all_ = (Rounds(tuple(figures)) for figures in zip(*taken, strict=True))
    yield recorder.row("recorder, an event learned", "µs", 1e6)
    yield recorder.over(all_).row("its share of the learner's time", "ratio")


def _small(number: int) -> Record:
    value = b"%099d" % number
    return Record("bench", number % 4, number // 4, number, b"task-%d" % (number % 1000), value, _HEADERS)


def _write(directory: Path, count: int) -> float:
    """Seconds to write so many, without making them."""
    seconds = 0.0
    with closing(Writer(directory, "topic", "bench")) as writer:
        for begin in range(0, count, 500):
            records = [_small(number) for number in range(begin, begin + 500)]
            began = time.perf_counter()
            writer.append(records)
            if begin % 10_000 == 0:
                writer.sync()
                writer.roll_if_large()
            seconds += time.perf_counter() - began
        began = time.perf_counter()
    return seconds + time.perf_counter() - began


def _read(directory: Path, count: int) -> float:
    """Seconds to read them as the loop reads: records, poll by poll."""
    source = ReplaySource(Recording(directory), ALL)
    began = time.perf_counter()
    source.start({})
    found = 0
    while records := source.poll(0.0):
        found += len(records)
    if found != count:
        raise AssertionError(f"{found} of {count} events were read")
    return time.perf_counter() - began


def cost(events: int) -> tuple[float, float]:
    """Seconds an event in the recorder, and in all, from the first checkpoint that holds events.

    Rates with and without a recorder differ more from one run to the next than by what it costs.
    """
    with tempfile.TemporaryDirectory() as folder:
        tape = _Recorded(Path(folder) / "recording")
        settings = [f"state.checkpoint_events={min(1000, events // 4)}"]
        daemon(f"{folder}/state", "off", settings, generated(events, lambda n: b"task-%d" % (n % 100)), tape)
    begun = next(number for number, mark in enumerate(tape.checkpoints) if mark[1])
    learned = tape.events - tape.checkpoints[begun][1]
    return (tape.seconds - tape.spent[begun]) / learned, tape.event_seconds(1)


class _Recorded(Marks):
    """A flight recorder, and the seconds spent in it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda: self.spent.append(self.seconds))
        self._folder, self.seconds, self.spent = folder, 0.0, list[float]()

    @contextmanager
    def begin(self, begun: Checkpoint) -> Iterator[Tape]:
        """As `Marks.begin`."""
        with FlightRecorder(self._folder, "tasks", begun) as self._recorder:
            yield self

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        super().keep(records)
        self._timed(lambda: self._recorder.keep(records))

    def cut(self) -> None:
        """As `Tape.cut`."""
        self._timed(self._recorder.cut)

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        self._timed(lambda: self._recorder.serve(compiled))

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:
        """As `Tape.sync`."""
        super().sync(positions, topic_id)
        return self._timed(lambda: self._recorder.sync(positions, topic_id))

    def committed(self) -> None:
        """As `Tape.committed`."""
        super().committed()
        self._timed(self._recorder.committed)

    def _timed(self, do: Callable[[], Given]) -> Given:
        began = time.perf_counter()
        try:
            return do()
        finally:
            self.seconds += time.perf_counter() - began
