"""Recordings: writing and reading a million small events, and what `run --record` costs the learner."""

import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path

from streammeta.benchmarks.result import Result
from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Conditions, Positions, Record
from streammeta.outcomes import Learned
from streammeta.recording.flight import FlightRecorder
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.recording.source import ReplaySource
from streammeta.recording.writer import Writer
from streammeta.runtime.assembly import Brain, assemble, build_brain, restore
from streammeta.runtime.tape import Tape
from streammeta.sending.messages import messages
from streammeta.state.checkpoint import RecordingMark
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.stream.generated import GeneratedSource, NoDeadLetters

SMALL_EVENTS = 1_000_000
LEARNED_EVENTS = 3000
ROUNDS = 3
_HEADERS = (("content-type", b"application/msgpack"),)


def recording() -> Iterator[Result]:
    """Rows a second, bytes a row, and the share of the learner's time that the flight recorder takes."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "small"
        yield Result("write, 1,000,000 events of 100 B", _write(directory), "events/s")
        yield Result("read as records, the same", _read(directory), "events/s")
        size_bytes = sum(part.bytes for part in Recording(directory).manifest.parts)
        yield Result("on the disk, an event", size_bytes / SMALL_EVENTS, "B")
        yield from _cost(Path(folder))


def _small(number: int) -> Record:
    value = b"%099d" % number
    return Record("bench", number % 4, number // 4, number, b"task-%d" % (number % 1000), value, _HEADERS)


def _write(directory: Path) -> float:
    seconds = 0.0
    with closing(Writer(directory, "topic", "bench")) as writer:
        for begin in range(0, SMALL_EVENTS, 500):
            records = [_small(number) for number in range(begin, begin + 500)]
            began = time.perf_counter()
            writer.append(records)
            if begin % 10_000 == 0:
                writer.sync()
                writer.roll_if_large()
            seconds += time.perf_counter() - began
        began = time.perf_counter()
    return SMALL_EVENTS / (seconds + time.perf_counter() - began)


def _read(directory: Path) -> float:
    """As the loop reads: records, poll by poll."""
    source = ReplaySource(Recording(directory), ALL)
    began = time.perf_counter()
    source.start({})
    count = 0
    while records := source.poll(0.0):
        count += len(records)
    if count != SMALL_EVENTS:
        raise AssertionError(f"{count} of {SMALL_EVENTS} events were read")
    return count / (time.perf_counter() - began)


def _cost(folder: Path) -> Iterator[Result]:
    """Time spent in the recorder while a stream is learned; the median over the rounds of its share.

    Rates with and without it differ more from one run to the next than by what it costs.
    """
    config = load_config(None, ["outer.clip_norm=10.0"], {})
    brain, made = build_brain(config), list(_records())
    rounds = [_learn(config, brain, made, folder / str(number)) for number in range(ROUNDS)]
    recorder = statistics.median(recorder for recorder, _ in rounds)
    yield Result("recorder, an event learned", 1e6 * recorder / LEARNED_EVENTS, "µs")
    yield Result(
        "its share of the learner's time", statistics.median(on / all_ for on, all_ in rounds), "ratio"
    )


def _records() -> Iterator[Record]:
    stream = messages(islice(sinusoid(Sinusoids()), LEARNED_EVENTS), "msgpack")
    for number, message in enumerate(stream):
        yield Record("tasks", 0, number, number, message.key, message.value, _HEADERS)


def _learn(config: Config, brain: Brain, made: list[Record], folder: Path) -> tuple[float, float]:
    """Seconds in the recorder, and in all, checkpoints included, from the first event learned on."""
    learned_at: list[float] = []
    with (
        StateDirectory(folder / "state") as directory,
        closing(LmdbStore(directory.lmdb_path)) as store,
        closing(OrderLog(directory.order_log_path)) as log,
    ):
        begun = restore(brain, store)
        with FlightRecorder(folder / "recording", "tasks", begun) as recorder:
            tape = _Timed(recorder)
            loop = assemble(
                config,
                brain,
                begun,
                source=_Ending(lambda offset: iter(made[offset:]), per_second=1e9),
                dead_letters=NoDeadLetters(),
                store=store,
                order_log=log,
                observers=[
                    lambda o: learned_at.append(time.perf_counter()) if isinstance(o, Learned) else None
                ],
                tape=tape,
            )
            loop.run(until_end=True)
            return tape.seconds, time.perf_counter() - learned_at[0]


class _Timed:
    """A tape, and the seconds spent in it."""

    def __init__(self, tape: Tape) -> None:
        self._tape, self.seconds = tape, 0.0

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        with self._timed():
            self._tape.keep(records)

    def cut(self) -> None:
        """As `Tape.cut`."""
        with self._timed():
            self._tape.cut()

    def serve(self, compiled: Mapping[str, Conditions]) -> None:
        """As `Tape.serve`."""
        with self._timed():
            self._tape.serve(compiled)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:
        """As `Tape.sync`."""
        with self._timed():
            return self._tape.sync(positions, topic_id)

    def committed(self) -> None:
        """As `Tape.committed`."""
        with self._timed():
            self._tape.committed()

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - began


class _Ending(GeneratedSource):
    """A generated stream that ends with what was made."""

    def ends(self) -> dict[int, int]:
        """After the last event."""
        return {0: LEARNED_EVENTS}
