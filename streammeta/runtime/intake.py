"""Records in, chunks of iterations applied: hops 2 to 4, and the ledger of what the state contains.

A closed iteration waits in the chunk until `settle` applies all that wait, one after the other. Which
iterations are settled together means nothing to what is learned.

Invariant: ledger, state and memories always stand between two iterations, so a checkpoint fits at any moment.
What waits, in the open iteration or in the chunk, is in none of them, only in the order log.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from streammeta.clock import Clock
from streammeta.codec import release_of
from streammeta.episodes.cutter import NOTHING, Cutter, Portion, Tally
from streammeta.episodes.gathering import Gathering, Read, Taken
from streammeta.errors import BadEvent
from streammeta.events import Examples, HalfExamples, Positions, Record, Release, TaskEvent
from streammeta.learner.engine import Engine, Folded
from streammeta.outcomes import Duplicate, Expired, Learned, Observer, Outcome, Refused, Skipped, Stages
from streammeta.runtime.iteration import Item, Result, iterate, place
from streammeta.runtime.tape import NoTape, Tape
from streammeta.stream.base import DeadLetters

CHUNK_RECORDS: Final = 512
"""Most records of a chunk: beyond, nothing gets cheaper."""
CHUNK_BYTES: Final = 64 << 20
"""Most bytes of a chunk's events, but for its last one."""
CHUNK_SECONDS: Final = 0.5
"""What a chunk may take at most, as the last one took; signals are looked at between chunks."""


@dataclass(slots=True)
class Ledger:
    """What the loop keeps beside the engine, all of it in the state.

    Attributes:
        positions: Partition -> next offset.
        refused: Reason -> records set aside.
        since_checkpoint: Records applied since the last checkpoint.
        topic_id: The identity of the topic that the positions belong to; "" while unknown.
        tally: Records taken, and what expired of examples.
        learned: Events learned from, up to the record that is told of.
    """

    positions: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    since_checkpoint: int = 0
    topic_id: str = ""
    tally: Tally = NOTHING
    learned: int = 0


@dataclass
class Intake:
    """Gathers records into iterations and applies each when it is closed.

    Attributes:
        topic: The name that outcomes carry.
        decode: Reads a record, or raises BadEvent.
        cutter: Cuts episodes, where records hold examples.
        gathering: The iteration that is being gathered.
        observers: Told what happened.
        tape: Keeps what the state contains, in its order.
    """

    topic: str
    decode: Callable[[Record], TaskEvent | Examples | HalfExamples]
    cutter: Cutter
    gathering: Gathering
    engine: Engine
    dead_letters: DeadLetters
    ledger: Ledger
    observers: Sequence[Observer]
    clock: Clock
    tape: Tape = field(default_factory=NoTape)
    _taken: dict[int, int] = field(init=False, default_factory=dict)
    """Positions after what was taken: those of the ledger, or ahead of them while an iteration is open."""
    _waiting: Tally = field(init=False, default=NOTHING)
    """What the records of the open iteration add to the ledger's tally."""
    _chunk: list[Sequence[Taken]] = field(init=False, default_factory=list)
    _items: list[list[Item]] = field(init=False, default_factory=list)
    _chunk_tally: Tally = field(init=False, default=NOTHING)
    _tasks: dict[str, bool] = field(init=False, default_factory=dict)
    """The tasks of the chunk, and whether one learns; in the order in which they came."""
    _fresh: int = field(init=False, default=0)
    """How many of them were not dirty."""
    _reached: dict[int, int] = field(init=False, default_factory=dict)
    """Positions after the chunk."""
    _records: int = field(init=False, default=0)
    """Records of the chunk."""
    _most_records: int = field(init=False, default=CHUNK_RECORDS)

    @property
    def open(self) -> bool:
        """Whether an event waits for its iteration to be closed."""
        return self.gathering.open

    @property
    def taken(self) -> Positions:
        """Per partition the offset after what was taken."""
        return self._taken

    @property
    def unsettled(self) -> int:
        """Records that wait in the chunk."""
        return self._records

    @property
    def chunk_full(self) -> bool:
        """Whether the chunk shall be settled before more is taken."""
        return (
            self._records >= self._most_records
            or self._fresh >= self.engine.memories.room
            or self.engine.chunk_bytes >= CHUNK_BYTES
        )

    def left_seconds(self) -> float:
        """How long the open iteration may still wait; infinity when none is open."""
        return self.gathering.left_seconds(self.clock.monotonic())

    def start(self, positions: Positions) -> None:
        """Go on from here; what waits in an open iteration is no more."""
        self._give_up()
        self.tape.cut()
        self.ledger.positions, self._taken = dict(positions), dict(positions)

    def move(self, positions: Positions) -> None:
        """Go on from here in these partitions; what waits of them is no more.

        What waits of other partitions is gathered again, as by a restart now.
        """
        waiting = [taken.record for taken in self._give_up() if taken.record.partition not in positions]
        self.tape.cut()
        reached = {**self._taken, **positions}
        self.ledger.positions |= positions
        self._taken = dict(self.ledger.positions)
        for record in waiting:
            self.take(record)
        self.settle()
        self._taken = reached
        self._pass()

    def new(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that were not yet taken; the others are told as duplicates."""
        positions = dict(self._taken)
        for record in records:
            if record.offset >= positions.get(record.partition, 0):
                positions[record.partition] = record.offset + 1
                yield record
            else:
                self.tell(Duplicate(self.topic, record.partition, record.offset))

    def take(self, record: Record) -> None:
        """Read the record and let it join; closes at most one iteration before it, and one with it."""
        began = self.clock.monotonic()
        number = self.ledger.tally.records + self._chunk_tally.records + self._waiting.records + 1
        if self.cutter.due(number):
            self.close()
            self.settle()
            self._count(self.cutter.sweep(number))
        read = self._read(record, number)
        now = self.clock.monotonic()
        if not self.gathering.admits(read):
            self.close()
        self._join(Taken(record, read, now - began), now)

    def pass_to(self, partition: int, offset: int) -> None:
        """Take nothing below `offset` any more: the log has lost what it held there.

        An offset below what was taken is a move: the log now ends there.
        """
        if offset < self._taken.get(partition, 0):
            self.move({partition: offset})
        self._taken[partition] = offset
        self._pass()

    def pass_on(self, positions: Positions) -> None:
        """Go on to these positions where they lie ahead: what is between holds no record for us.

        Markers and aborted records of transactions, and gaps that compaction left, are passed so.
        """
        for partition, offset in positions.items():
            if offset > self._taken.get(partition, -1):
                self._taken[partition] = offset
        self._pass()

    def close(self) -> None:
        """Let what was gathered, if anything was, be an iteration of the chunk."""
        gathered = self.gathering.close()
        if not gathered:
            return
        self._chunk.append(gathered)
        self._items.append([place(self.engine, taken.read) for taken in gathered])
        self._records += len(gathered)
        self._chunk_tally = self._chunk_tally.plus(self._waiting)
        self._waiting = NOTHING
        self._reached.update(self._taken)
        for taken in gathered:
            self._expect(taken.read)

    def settle(self) -> None:
        """Apply the iterations of the chunk, one after the other, then tell of them."""
        if not self._chunk:
            return
        chunk, items, tasks, tally = self._chunk, self._items, [*self._tasks], self._chunk_tally
        for gathered in chunk:
            self.tape.keep([taken.record for taken in gathered])
        engine, tick = self.engine, self.clock.monotonic
        times = [tick()]
        engine.load(tasks)
        times.append(tick())
        results = [result for iteration in items for result in iterate(engine, iteration)]
        times.append(tick())
        folded = engine.fold(tasks)
        times.append(tick())
        taken = [taken for gathered in chunk for taken in gathered]
        self.ledger.positions.update(self._reached)
        self.ledger.since_checkpoint += self._records
        self._pace(times[-1] - times[0])
        self._begin_chunk()
        self._count(tally)
        if folded is not None:
            self.tell(self._learned(taken, results, folded, times))
        for one, result in zip(taken, results, strict=True):
            self._settled(one.record, result)
            self.ledger.learned += result if isinstance(result, int) else 0

    def tell(self, outcome: Outcome) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer(outcome)

    def _join(self, taken: Taken, now_seconds: float) -> None:
        """Add what the open iteration admits; closes it when it is complete."""
        self.gathering.take(taken, now_seconds)
        self._taken[taken.record.partition] = taken.record.offset + 1
        dropped = taken.read.dropped if isinstance(taken.read, Portion) else NOTHING
        self._waiting = self._waiting.plus(dropped, records=1)
        if self.gathering.complete:
            self.close()

    def _give_up(self) -> list[Taken]:
        """What was gathered; nothing waits any more."""
        self.cutter.settled()
        self._waiting = NOTHING
        return self.gathering.close()

    def _begin_chunk(self) -> None:
        """Nothing waits in it."""
        if not self.open:
            self.cutter.settled()
        self._chunk, self._items, self._chunk_tally, self._reached = [], [], NOTHING, {}
        self._tasks, self._fresh, self._records = {}, 0, 0

    def _expect(self, read: Read) -> None:
        """Note the task whose row the chunk will ask for."""
        if isinstance(read, BadEvent | Release):
            return
        task, learns = read.task, not isinstance(read, Portion) or bool(read.events)
        if task not in self._tasks:
            self._tasks[task] = learns
            self._fresh += not self.engine.memories.is_dirty(task)
        elif learns:
            self._tasks[task] = True

    def _pace(self, seconds: float) -> None:
        """Let the next chunk take no longer than it may."""
        if seconds > 0:
            self._most_records = max(1, min(CHUNK_RECORDS, int(CHUNK_SECONDS * self._records / seconds)))

    def _count(self, more: Tally) -> None:
        """Count records, and what expired with them."""
        self.ledger.tally = self.ledger.tally.plus(more)
        if more.expired or more.unmatched:
            self.tell(Expired(self.topic, more.expired, more.unmatched))

    def _pass(self) -> None:
        """The state passes what was taken where nothing waits."""
        if not self.open:
            self.ledger.positions.update(self._taken)

    def _read(self, record: Record, number: int) -> Read:
        try:
            if record.headers and (release := release_of(record)):
                return release
            read = self.decode(record)
            if isinstance(read, TaskEvent):
                return read
            if self.gathering.holds(read.task):
                self.close()  # what its task holds is known when that event is learned, or refused
            if self._tasks.get(read.task):
                self.settle()
            return self.cutter.portion(read, number)
        except BadEvent as refusal:
            return refusal

    def _settled(self, record: Record, result: Result) -> None:
        """Tell what came of a record, but for what was learned; it is set aside when it was refused."""
        if isinstance(result, BadEvent):
            self.dead_letters.send(record, result)
            self.ledger.refused[result.reason] = self.ledger.refused.get(result.reason, 0) + 1
            self.tell(Refused(self.topic, record.partition, record.offset, result.reason, str(result)))
        elif not result:
            self.tell(Skipped(self.topic, record.partition, record.offset))

    def _learned(
        self, taken: Sequence[Taken], results: Sequence[Result], folded: Folded, times: Sequence[float]
    ) -> Learned:
        count = len(folded.events)
        learned = [
            (one.record.partition, result)
            for one, result in zip(taken, results, strict=True)
            if isinstance(result, int)
        ]
        load, step, store = (seconds / count for seconds in np.diff(times).tolist())
        event_times_ms = np.array([event.time_ms for event in folded.events], np.float64)
        return Learned(
            topic=self.topic,
            partitions=[partition for partition, events in learned for _ in range(events)],
            tasks=[event.task for event in folded.events],
            events=folded.progress.events,
            task_events=folded.visits.counts,
            losses=folded.judged[:, :3],
            task_losses=folded.visits.losses,
            means=folded.means,
            prequential=folded.progress.prequential,
            gradient_norms=folded.column("gradient_norm"),
            update_norms=folded.column("update_norm"),
            tracking_errors=folded.column("tracking_error"),
            staleness_events=folded.visits.staleness,
            inner_lr=self.engine.inner_lr,
            meta_lrs=folded.meta_rates,
            ages_seconds=self.clock.now() - event_times_ms / 1000,
            stages=Stages(sum(one.decode_seconds for one in taken) / count, load, step, store),
            predictions=folded.predictions,
        )
