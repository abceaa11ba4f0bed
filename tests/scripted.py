"""A stream that follows a script, and a fuse that ends the process at any chosen moment of it.

`Script` is the global order in which records shall be learned. The source yields them in batches of any
size, may deliver again what it delivered before, and after a restart goes on in the script's order.
"""

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from streammeta.codec import MSGPACK, encode_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import Condition, Conditions, OrderEntry, Positions, Record, Run, episode_of
from streammeta.state.order_log import OrderLog
from streammeta.state.store import Meta, Store, TaskRow, TaskStats
from streammeta.state.store import Waiting as Expiring
from streammeta.stream.base import Waiting, untold


class Killed(BaseException):
    """The process was killed here: nothing after this line ran."""


@dataclass
class Fuse:
    """Burns one step at each `passed`; at zero the process is killed. A negative length never burns out."""

    length: int = -1

    def passed(self) -> None:
        """One more moment at which a kill may happen."""
        self.length -= 1
        if self.length == 0:
            raise Killed


def make_script(
    seed: int,
    *,
    partitions: int,
    tasks: int,
    events: int,
    examples: int = 3,
    poison: float = 0.1,
    odd: float = 0.0,
    wild: float = 0.0,
) -> list[Record]:
    """Records of several tasks, a task always in its partition, offsets with gaps.

    Some are `poison` (nothing can be read), some `odd` (of another shape), some `wild` (they can be read, but
    hold NaN, or numbers whose update overflows).
    """
    draws = random.Random(seed)
    arrays = np.random.default_rng(seed)
    offsets = dict.fromkeys(range(partitions), 0)
    script = []
    for number in range(events):
        task = draws.randrange(tasks)
        partition = task % partitions
        offsets[partition] += draws.choice((1, 1, 1, 3))
        x, y = arrays.normal(size=(2, 2, examples, 2))
        if odd and draws.random() < odd:
            x, y = x[:, :2], y[:, :2]
        if wild and draws.random() < wild:
            x = np.where(np.arange(2) == 1, draws.choice((np.nan, 1e200)), x)
        value = encode_msgpack(episode_of(x[0], y[0, :, :1], x[1], y[1, :, :1]))
        if draws.random() < poison:
            value = b"\xc1poison"
        headers = (("content-type", MSGPACK.encode()),)
        script.append(
            Record("tasks", partition, offsets[partition], number, f"task-{task}".encode(), value, headers)
        )
    return script


@dataclass
class ScriptedSource:
    """Implements `Source` over a script.

    Attributes:
        batch: Draws the size of the next batch.
        redeliver: Draws how many records before the position are delivered again.
        pauses: Places in the script (records before them) where nothing comes for a while, once a life.
        pause: Lets the time of a pause pass.
        topic_id: Its identity; "" as of a broker that gives none.
        brought_along: How many offsets before a run `fetch` may bring along, as a broker's batch does.
    """

    script: Sequence[Record]
    batch: Callable[[], int]
    redeliver: Callable[[], int] = lambda: 0
    fuse: Fuse = field(default_factory=Fuse)
    pauses: frozenset[int] = frozenset()
    pause: Callable[[], None] = lambda: None
    at: dict[int, int] = field(default_factory=dict)
    told: dict[int, int] = field(default_factory=dict)
    topic_id: str = ""
    moves: dict[int, int] = field(default_factory=dict)
    brought_along: int = 2

    def start(self, positions: Positions, identity: str = "") -> Positions:
        """Begin each partition at its position, or at 0 where its log ends before, or is of another topic."""
        ends = self.ends()
        kept = {p: offset for p, offset in positions.items() if offset <= ends.get(p, offset)}
        self.at = dict.fromkeys(ends, 0) | (kept if identity in ("", self.topic_id) else {})
        return dict(self.at)

    def identity(self) -> str:
        """As scripted."""
        return self.topic_id

    def moved(self) -> Positions:
        """Where `recreate` moved the partitions, once."""
        moves, self.moves = self.moves, {}
        return moves

    def recreate(self, script: Sequence[Record], topic_id: str = "") -> None:
        """Replace the topic while it is read: every partition begins anew."""
        self.script, self.topic_id = script, topic_id
        self.at = dict.fromkeys(self.ends(), 0)
        self.moves = dict(self.at)

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """The next batch of the script, behind some records delivered again."""
        assert timeout_seconds > 0
        self.fuse.passed()
        first = next((i for i, r in enumerate(self.script) if r.offset >= self.at[r.partition]), None)
        if first is None:
            return []
        if first in self.pauses:
            self.pauses -= {first}
            self.pause()
            if first % 2:  # else records come at the end of the pause
                return []
        until = min((place for place in self.pauses if place > first), default=None)
        new = [r for r in self.script[first:until] if r.offset >= self.at[r.partition]][: self.batch()]
        for record in new:
            self.at[record.partition] = record.offset + 1
        return [*self.script[max(0, first - self.redeliver()) : first], *new]

    def is_cut(self) -> bool:
        """None is known."""
        return False

    def executors(self) -> Mapping[str, Conditions] | None:
        """Nobody knows."""
        return None

    def replayed(self) -> float | None:
        """There is no end."""
        return None

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:
        """The records of the run, and those before it that a broker's batch may bring along."""
        self.fuse.passed()
        waiting()
        self.at[run.partition] = min(run.end, self.ends()[run.partition])
        return [
            r
            for r in self.script
            if r.partition == run.partition and run.first - self.brought_along <= r.offset < run.end
        ]

    def ends(self) -> Positions:
        """One past the last offset of each partition."""
        return {record.partition: record.offset + 1 for record in self.script}

    def positions(self) -> Positions:
        """Where the next poll begins."""
        return dict(self.at)

    def passed(self) -> Positions:
        """There are no markers."""
        return dict(self.at)

    def lag(self, applied: Positions) -> Mapping[int, int]:
        """Offsets behind the end."""
        return {partition: end - applied.get(partition, 0) for partition, end in self.ends().items()}

    def condition(self, applied: Positions) -> Condition:  # noqa: ARG002 (the protocol's)
        """Always well."""
        return Condition()

    def committed(self, positions: Positions) -> None:
        """Remember what lag tools would see."""
        self.fuse.passed()
        self.told = dict(positions)

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class CollectedDeadLetters:
    """Implements `DeadLetters` in a list that outlives the process; unflushed ones die with it."""

    kept: list[tuple[Record, BadEvent]]
    fuse: Fuse = field(default_factory=Fuse)
    sent: list[tuple[Record, BadEvent]] = field(default_factory=list)
    slow: bool = False

    def send(self, record: Record, refusal: BadEvent) -> None:
        """Begin to write."""
        self.sent.append((record, refusal))

    def flush(self, waiting: Waiting = untold) -> None:
        """Acknowledge all; with `slow`, after a wait."""
        self.fuse.passed()
        if self.slow and self.sent:
            waiting()
        self.kept += self.sent
        self.sent = []

    def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class CollectedAnswers:
    """Implements `Answers` in a list that outlives the process; unflushed ones may have arrived or not.

    Attributes:
        kept: The record that asked, and its answer, as the topic holds them.
        arrives: Draws whether an answer arrives before it is acknowledged.
        takes: Whether the topic can hold an answer.
    """

    kept: list[tuple[Record, Record]]
    fuse: Fuse = field(default_factory=Fuse)
    arrives: Callable[[], bool] = lambda: False
    takes: Callable[[Record], bool] = lambda _: True
    sent: list[tuple[Record, Record]] = field(default_factory=list)
    crowded: bool = False

    def send(self, answer: Record, asked: Record) -> None:
        """Begin to write."""
        self.fuse.passed()
        self.sent.append((asked, answer))
        if self.arrives() and all(self.takes(answer) for _, answer in self.sent):
            self._arrive()

    def flush(self, waiting: Waiting = untold) -> Sequence[tuple[Record, BadEvent]]:
        """Acknowledge all."""
        del waiting
        self.fuse.passed()
        too_large = [asked for asked, answer in self.sent if not self.takes(answer)]
        self._arrive()
        self.fuse.passed()
        return [(asked, BadEvent(Reason.TOO_LARGE, "too large", stage="predict")) for asked in too_large]

    def _arrive(self) -> None:
        self.kept += [pair for pair in self.sent if self.takes(pair[1])]
        self.sent = []

    def close(self) -> None:
        """Nothing to let go of."""


class FusedStore:
    """A `Store` over one that outlives the process, which may be killed right before or after a commit."""

    def __init__(self, fuse: Fuse, behind: Store) -> None:
        self.fuse, self.behind = fuse, behind

    def load(self) -> Meta | None:
        """As the store behind."""
        return self.behind.load()

    def get(self, task: str) -> TaskRow | None:
        """As the store behind."""
        return self.behind.get(task)

    def get_many(self, tasks: Sequence[str]) -> Iterable[TaskRow | None]:
        """As the store behind."""
        return self.behind.get_many(tasks)

    def constants(self) -> bytes:
        """As the store behind."""
        return self.behind.constants()

    def ids(self) -> Mapping[int, bytes]:
        """As the store behind."""
        return self.behind.ids()

    def united(self) -> bytes:
        """As the store behind."""
        return self.behind.united()

    def commit(self, meta: Meta, tasks: Mapping[str, TaskRow | None], constants: bytes | None = None) -> int:
        """As the store behind, between two moments of danger."""
        self.fuse.passed()
        written = self.behind.commit(meta, tasks, constants)
        self.fuse.passed()
        return written

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """As the store behind."""
        return self.behind.stats()

    def waiting(self) -> Iterator[tuple[str, Expiring]]:
        """As the store behind."""
        return self.behind.waiting()

    def count(self) -> int:
        """As the store behind."""
        return self.behind.count()

    def close(self) -> None:
        """As the store behind."""
        self.behind.close()


class Aside:
    """Runs the writes of checkpoints: at once, or after so many looks as were drawn; none after a kill."""

    def __init__(self, looks: Callable[[], int]) -> None:
        """`looks`: draws how often the loop looks whether a write has ended before it has."""
        self._looks = looks

    def __call__(self, write: Callable[[], int]) -> "Future[int]":
        """Begin it."""
        return Postponed(write, self._looks())


class Postponed(Future[int]):
    """Runs the write when it was looked at so often, or when its result is asked for."""

    def __init__(self, write: Callable[[], int], looks: int) -> None:
        super().__init__()
        self._write, self._looks, self._ran = write, looks, False
        if looks == 0:
            self._run()

    def _run(self) -> None:
        if not self._ran:
            self._ran = True
            self.set_result(self._write())

    def done(self) -> bool:
        """Whether it has run; one look."""
        self._looks -= 1
        if self._looks <= 0:
            self._run()
        return super().done()

    def result(self, timeout: float | None = None) -> int:
        """Waits for it."""
        self._run()
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Of a process that was killed nobody waits for the writes."""
        del timeout
        return None


class FusedOrderLog(OrderLog):
    """The real order log, between moments of danger."""

    fuse = Fuse()

    def append(self, entries: Sequence[OrderEntry]) -> None:
        """As the log, between two moments of danger."""
        self.fuse.passed()
        super().append(entries)
        self.fuse.passed()

    def insert(self, positions: Positions, entries: Sequence[OrderEntry]) -> None:
        """As the log, between two moments of danger."""
        self.fuse.passed()
        super().insert(positions, entries)
        self.fuse.passed()

    def forget(self, positions: Positions) -> None:
        """As the log, between two moments of danger."""
        self.fuse.passed()
        super().forget(positions)
        self.fuse.passed()
