"""Records in, iterations applied: hops 2 to 4, and the ledger of what the state contains.

Invariant: ledger, state and memories always stand between two iterations, so a checkpoint fits at any moment.
What waits in an open iteration is in none of them, only in the order log.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from streammeta.clock import Clock
from streammeta.episodes.cutter import NOTHING, Cutter, Portion, Tally
from streammeta.episodes.gathering import Gathering, Read, Taken
from streammeta.errors import BadEvent
from streammeta.events import Examples, HalfExamples, Positions, Record, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.outcomes import Duplicate, Expired, Learned, Observer, Outcome, Refused, Skipped
from streammeta.runtime.iteration import Learnt, Result, iterate
from streammeta.runtime.tape import NoTape, Tape
from streammeta.stream.base import DeadLetters


@dataclass(slots=True)
class Ledger:
    """What the loop keeps beside the engine, all of it in the state.

    Attributes:
        positions: Partition -> next offset.
        refused: Reason -> records set aside.
        since_checkpoint: Records applied since the last checkpoint.
        topic_id: The identity of the topic that the positions belong to; "" while unknown.
        tally: Records taken, and what expired of examples.
    """

    positions: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    since_checkpoint: int = 0
    topic_id: str = ""
    tally: Tally = NOTHING


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

    @property
    def open(self) -> bool:
        """Whether an event waits for its iteration to be closed."""
        return self.gathering.open

    @property
    def taken(self) -> Positions:
        """Per partition the offset after what was taken."""
        return self._taken

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
        number = self.ledger.tally.records + self._waiting.records + 1
        if self.cutter.due(number):
            self.close()
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
        """Apply what was gathered, if anything was, as one iteration, then tell of it."""
        waiting, gathered = self._waiting, self._give_up()
        self.tape.keep([taken.record for taken in gathered])
        results = iterate(self.engine, [taken.read for taken in gathered], self.clock.monotonic)
        outcomes = [
            outcome
            for taken, result in zip(gathered, results, strict=True)
            for outcome in self._settled(taken, result)
        ]
        self.ledger.positions.update(self._taken)
        self.ledger.since_checkpoint += len(gathered)
        self._count(waiting)
        for outcome in outcomes:
            self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """Tell every observer."""
        for observer in self.observers:
            observer(outcome)

    def _join(self, taken: Taken, now_seconds: float) -> None:
        """Add what the open iteration admits; closes it when it is complete."""
        self.gathering.take(taken, now_seconds)
        self._taken[taken.record.partition] = taken.record.offset + 1
        dropped = taken.read.dropped if isinstance(taken.read, Portion) else NOTHING
        self._waiting = self._waiting.plus(dropped).plus(Tally(records=1))
        if self.gathering.complete:
            self.close()

    def _give_up(self) -> list[Taken]:
        """What was gathered; nothing waits any more."""
        self.cutter.settled()
        self._waiting = NOTHING
        return self.gathering.close()

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
            read = self.decode(record)
            if isinstance(read, TaskEvent):
                return read
            if self.gathering.holds(read.task):
                self.close()  # what its task holds is known when that event is learned, or refused
            return self.cutter.portion(read, number)
        except BadEvent as refusal:
            return refusal

    def _settled(self, taken: Taken, result: Result) -> list[Outcome]:
        """The record's outcomes; it is set aside when it was refused."""
        record = taken.record
        if isinstance(result, BadEvent):
            self.dead_letters.send(record, result)
            self.ledger.refused[result.reason] = self.ledger.refused.get(result.reason, 0) + 1
            return [Refused(self.topic, record.partition, record.offset, result.reason, str(result))]
        if not result:
            return [Skipped(self.topic, record.partition, record.offset)]
        return [self._learned(taken, learnt) for learnt in result]

    def _learned(self, taken: Taken, learnt: Learnt) -> Learned:
        event, step, update = learnt.event, learnt.step, learnt.update
        before, after, losses = update.before, update.entry.stats, update.losses
        return Learned(
            topic=self.topic,
            partition=taken.record.partition,
            task=event.task,
            events=update.progress.events,
            task_events=after.events,
            loss_meta=losses.meta,
            loss_adapted=losses.adapted,
            loss_memory=losses.memory,
            task_loss=after.loss,
            prequential=update.progress.prequential,
            gradient_norm=step.gradient_norm,
            update_norm=step.update_norm,
            tracking_error=update.tracking_error,
            staleness_events=after.last_event - before.last_event if before.events else None,
            inner_lr=self.engine.inner_lr,
            meta_lr=step.meta_lr,
            age_seconds=self.clock.now() - event.time_ms / 1000,
            decode_seconds=taken.decode_seconds,
            load_seconds=learnt.load_seconds,
            step_seconds=learnt.step_seconds,
            store_seconds=learnt.store_seconds,
            predictions=update.predictions,
        )
