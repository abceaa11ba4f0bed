"""Records in, iterations applied: hops 2 to 4, and the ledger of what the state contains.

Invariant: ledger, state and memories always stand between two iterations, so a checkpoint fits at any moment.
What waits in an open iteration is in none of them, only in the order log.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from streammeta.batching import Gathering, Taken
from streammeta.clock import Clock
from streammeta.engine import Engine
from streammeta.errors import BadEvent
from streammeta.events import Positions, Record, TaskEvent
from streammeta.iteration import Learnt, Result, iterate
from streammeta.outcomes import Duplicate, Learned, Observer, Outcome, Refused
from streammeta.stream.base import DeadLetters
from streammeta.tape import NoTape, Tape


@dataclass(slots=True)
class Ledger:
    """What the loop keeps beside the engine, all of it in the state.

    Attributes:
        positions: Partition -> next offset.
        refused: Reason -> records set aside.
        since_checkpoint: Records applied since the last checkpoint.
        topic_id: The identity of the topic that the positions belong to; "" while unknown.
    """

    positions: dict[int, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    since_checkpoint: int = 0
    topic_id: str = ""


@dataclass
class Intake:
    """Gathers records into iterations and applies each when it is closed.

    Attributes:
        topic: The name that outcomes carry.
        decode: Reads a record, or raises BadEvent.
        gathering: The iteration that is being gathered.
        observers: Told what happened.
        tape: Keeps what the state contains, in its order.
    """

    topic: str
    decode: Callable[[Record], TaskEvent]
    gathering: Gathering
    engine: Engine
    dead_letters: DeadLetters
    ledger: Ledger
    observers: Sequence[Observer]
    clock: Clock
    tape: Tape = field(default_factory=NoTape)
    _taken: dict[int, int] = field(init=False, default_factory=dict)
    """Positions after what was taken: those of the ledger, or ahead of them while an iteration is open."""

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
        self.gathering.close()
        self.tape.cut()
        self.ledger.positions, self._taken = dict(positions), dict(positions)

    def move(self, positions: Positions) -> None:
        """Go on from here in these partitions; what waits of them is no more.

        What waits of other partitions is gathered again, as by a restart now.
        """
        waiting = [taken for taken in self.gathering.close() if taken.record.partition not in positions]
        self.tape.cut()
        reached = {**self._taken, **positions}
        self.ledger.positions |= positions
        self._taken = dict(self.ledger.positions)
        for taken in waiting:
            self._join(taken, self.clock.monotonic())
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
        """Read the record and let it join; closes at most one iteration, before it or with it."""
        began = self.clock.monotonic()
        read = self._read(record)
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

    def close(self) -> None:
        """Apply what was gathered, if anything was, as one iteration, then tell of it."""
        gathered = self.gathering.close()
        self.tape.keep([taken.record for taken in gathered])
        results = iterate(self.engine, [taken.read for taken in gathered], self.clock.monotonic)
        outcomes = [self._settled(taken, result) for taken, result in zip(gathered, results, strict=True)]
        self.ledger.positions.update(self._taken)
        self.ledger.since_checkpoint += len(gathered)
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
        if self.gathering.complete:
            self.close()

    def _pass(self) -> None:
        """The state passes what was taken where nothing waits."""
        if not self.open:
            self.ledger.positions.update(self._taken)

    def _read(self, record: Record) -> TaskEvent | BadEvent:
        try:
            return self.decode(record)
        except BadEvent as refusal:
            return refusal

    def _settled(self, taken: Taken, result: Result) -> Outcome:
        """The record's outcome; it is set aside when it was refused."""
        if isinstance(result, Learnt):
            return self._learned(taken, result)
        record = taken.record
        self.dead_letters.send(record, result)
        self.ledger.refused[result.reason] = self.ledger.refused.get(result.reason, 0) + 1
        return Refused(self.topic, record.partition, record.offset, result.reason, str(result))

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
            meta_lr=self.engine.meta_lr,
            age_seconds=self.clock.now() - event.time_ms / 1000,
            decode_seconds=taken.decode_seconds,
            load_seconds=learnt.load_seconds,
            step_seconds=learnt.step_seconds,
            store_seconds=learnt.store_seconds,
        )
