"""The real daemon, whole, in this process: configuration, state directory, HTTP port, observers, commits.

As `streammeta run` does, it leaves what was made before the first event out of garbage collection.

It is watched through its tape alone, which is told of every iteration and asked before every commit.
"""

import gc
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Positions, Record
from streammeta.programs.daemon import Connect, connect_kafka, run_daemon
from streammeta.runtime.tape import NoTape, Tape
from streammeta.sending.messages import messages
from streammeta.state.checkpoint import Checkpoint, RecordingMark
from streammeta.stream.generated import GeneratedSource, NoDeadLetters

QUIET = ("http.port=0", "log.level=error")
STEADY = ("outer.lr=0.00001",)
"""A rate at which long runs stay finite: at the default one, 1,000 tasks that come by turns, so that each
gradient is 1,000 events old, let w run away, and after 24,000 events every one is refused."""
AS_FAST_AS_IT_GOES = 1e9


@dataclass
class Marks(NoTape):
    """When the daemon stood where.

    Attributes:
        at_checkpoint: Called as each checkpoint begins.
        opened: When the state was read.
        events: Records applied so far.
        checkpoints: Seconds and records applied, as each checkpoint began.
        ended: When the last one was committed.
    """

    at_checkpoint: Callable[[], None] = lambda: None
    opened: float = 0.0
    events: int = 0
    checkpoints: list[tuple[float, int]] = field(default_factory=list)
    ended: float = 0.0

    def begin(self, _begun: Checkpoint) -> AbstractContextManager[Tape]:
        """As `programs.daemon.Taping`."""
        self.opened = time.perf_counter()
        return nullcontext(self)

    def keep(self, records: Sequence[Record]) -> None:
        """As `Tape.keep`."""
        self.events += len(records)

    def sync(self, positions: Positions, topic_id: str) -> RecordingMark | None:  # noqa: ARG002 (the protocol's)
        """As `Tape.sync`."""
        self.checkpoints.append((time.perf_counter(), self.events))
        self.at_checkpoint()
        return None

    def committed(self) -> None:
        """As `Tape.committed`."""
        self.ended = time.perf_counter()

    def event_seconds(self, after: int) -> float:
        """Seconds an event, from the first checkpoint behind `after` events to the last commit."""
        began, first = next(mark for mark in self.checkpoints if mark[1] >= after)
        return (self.ended - began) / (self.events - first)


class Finite(GeneratedSource):
    """A stream from memory that ends."""

    def __init__(self, count: int, record: Callable[[int], Record]) -> None:
        """`record`: makes the record of an offset below `count`."""
        self._count = count
        super().__init__(lambda offset: map(record, range(offset, count)), AS_FAST_AS_IT_GOES)

    def ends(self) -> Positions:
        """After the last record."""
        return {0: self._count}


def generated(count: int, key: Callable[[int], bytes], first: int = 0) -> Connect:
    """`count` sinusoid events from memory, from offset `first` on, each of the task that `key` names.

    Their data come again after 1,000 events: to make them would take longer than to learn them.
    """
    made = list(islice(messages(sinusoid(Sinusoids()), "msgpack"), 1000))
    headers = tuple((name, value) for name, value in made[0].headers)

    def record(offset: int) -> Record:
        number = offset - first
        return Record("tasks", 0, offset, offset, key(number), made[number % len(made)].value, headers)

    return lambda _config, _keep_going: (Finite(first + count, record), NoDeadLetters())


def daemon(
    folder: Path | str,
    executor: str,
    settings: Sequence[str] = (),
    connect: Connect = connect_kafka,
    marks: Marks | None = None,
) -> Marks:
    """Run the daemon to the end of its stream, with its state in `folder`; what its tape saw.

    Has to be called in the main thread of a process of its own.

    Raises:
        RuntimeError: an event was refused: the figures would be of refusals.
    """
    config = configured(folder, executor, settings)
    marks = marks or Marks()
    last = run_daemon(
        config,
        read_config=lambda: config,
        connect=connect,
        taping=marks.begin,
        until_end=True,
        on_serving=lambda _address: gc.freeze(),
    )
    refused = {reason: count for reason, count in last["dead_letters"].items() if count}
    if refused:
        raise RuntimeError(f"of {marks.events:,} events so many were refused: {refused}")
    return marks


def configured(folder: Path | str, executor: str, settings: Sequence[str] = ()) -> Config:
    """The defaults but for what keeps it quiet and steady, and these settings."""
    own = (f"state.dir={folder}", f"engine.compile={executor}", *QUIET, *STEADY)
    return load_config(None, [*own, *settings], {})
