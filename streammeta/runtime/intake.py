"""Records in, chunks of iterations applied: hops 2 to 4, and the ledger of what the state contains.

A closed iteration waits in the chunk until `settle` applies all that wait, one after the other. Which
iterations are settled together means nothing to what is learned.

Invariant: ledger, state and memories always stand between two iterations, so a checkpoint fits at any moment.
What waits, in the open iteration or in the chunk, is in none of them, only in the order log.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from streammeta.clock import Clock
from streammeta.codec import event_id
from streammeta.episodes.cutter import Asked, Cutter, Portion
from streammeta.episodes.gathering import Gathering, Read, Repeated, Taken
from streammeta.errors import BadEvent, OutOfMemory
from streammeta.events import Change, Passed, Positions, Question, Record, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.outcomes import Duplicate
from streammeta.runtime.answering import Answering
from streammeta.runtime.iteration import Changed, Result, place
from streammeta.runtime.ledger import Ledger
from streammeta.runtime.pace import Pace
from streammeta.runtime.pending import Pending
from streammeta.runtime.reading import Content
from streammeta.runtime.tape import NoTape, Tape
from streammeta.runtime.telling import Telling
from streammeta.runtime.told import learned
from streammeta.runtime.trials import NoTrials, Trials
from streammeta.runtime.trying import apply, keep
from streammeta.state.event_ids import EventIds
from streammeta.state.progress import NOTHING, Tally


@dataclass
class Intake:
    """Gathers records into iterations and applies each when it is closed.

    Attributes:
        decode: Reads a record, or raises BadEvent.
        cutter: Cuts episodes, where records hold examples.
        gathering: The iteration that is being gathered.
        telling: Told what came of records.
        tape: Keeps what the state contains, in its order.
        answering: Answers what is asked; None where questions are passed over.
        trials: Told of what is tried next.
        log_passed: Writes down which records were passed for want of memory.
        passed: Partition and offset -> what is not to be tried again.
        ids: Those of the events that the state contains, as far back as the window reaches.
    """

    decode: Callable[[Record], Content | Change]
    cutter: Cutter
    gathering: Gathering
    engine: Engine
    telling: Telling
    ledger: Ledger
    clock: Clock
    tape: Tape = field(default_factory=NoTape)
    answering: Answering | None = None
    trials: Trials = field(default_factory=NoTrials)
    log_passed: Callable[[Sequence[Passed]], object] = len
    passed: dict[tuple[int, int], Passed] = field(default_factory=dict)
    ids: EventIds = field(default_factory=lambda: EventIds(0))
    _taken: dict[int, int] = field(init=False, default_factory=dict)
    """Positions after what was taken: the ledger's, or ahead of them while an iteration is open."""
    _waiting: int = field(init=False, default=0)
    """Records of the open iteration."""
    _dropped: Tally = field(init=False, default=NOTHING)
    """What expired with them."""
    _pending: Pending = field(init=False, default_factory=Pending)
    """The chunk."""
    _open_ids: set[bytes] = field(init=False, default_factory=set)
    """Events that wait in the open iteration."""
    _pace: Pace = field(init=False, default_factory=Pace)

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
        return self._pending.records

    @property
    def chunk_full(self) -> bool:
        """Whether the chunk shall be settled before more is taken."""
        return self._pending.fresh >= self.engine.memories.room or self._pace.full(
            self._pending.records, self.engine.chunk_bytes
        )

    @property
    def crowded(self) -> bool:
        """Whether so many answers are unacknowledged that they shall be waited for."""
        return self.answering is not None and self.answering.crowded

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
                self.telling.tell(Duplicate(self.telling.topic, record.partition, record.offset))

    def take(self, record: Record) -> None:
        """Read the record and let it join; closes at most one iteration before it, and one with it."""
        began = self.clock.monotonic()
        record = self._marked(record)
        number = self.ledger.tally.records + self._pending.records + self._waiting + 1
        if self.cutter.due(number):
            self.close()
            self.settle()
            self.telling.count(0, self.cutter.sweep(number))
        event = event_id(record) if self.ids.window else b""
        read = Repeated() if event and self._contains(event, number) else self._read(record, number)
        now = self.clock.monotonic()
        if not self.gathering.admits(read):
            self.close()
        if isinstance(read, Change):
            self._change(Taken(record, read, now - began, event), now)
        else:
            self._join(Taken(record, read, now - began, event), now)

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
        items = [place(self.engine, taken.read, taken.record.flaw) for taken in gathered]
        self._pending.add(gathered, items, self._dropped, self._taken, self.engine.memories)
        self._waiting, self._dropped = 0, NOTHING
        self._pending.ids |= self._open_ids
        self._open_ids.clear()

    def apply(self) -> Sequence[Result]:
        """Learn from the iterations of the chunk that wait, leaving the rest to `settle`; results of all."""
        pending = self._pending
        self.trials.over()
        if pending.applied < len(pending.iterations):
            apply(self.engine, pending, self.trials, self.answering, self.clock.monotonic)
        return pending.results

    def settle(self) -> None:
        """Apply the iterations of the chunk, one after the other, then tell of them."""
        pending, engine, results = self._pending, self.engine, self.apply()
        if not pending.iterations:
            return
        began_seconds = self.clock.monotonic()
        folded = engine.fold([*pending.tasks])
        seconds = pending.load_seconds, pending.step_seconds, self.clock.monotonic() - began_seconds
        keep(pending, self.tape, self.log_passed)
        taken = [taken for gathered in pending.iterations for taken in gathered]
        if self.ids.window:
            self._know(taken, results)
        self.ledger.positions.update(pending.reached)
        self.ledger.since_checkpoint += pending.records
        self._pace.took(pending.records, sum(seconds))
        if not self.open:
            self.cutter.settled()
        self._pending = Pending()
        self.telling.count(pending.records, pending.dropped)
        unanswered = self.answering.publish() if self.answering else {}
        columns = learned(
            *(self.telling.topic, taken, results, folded, seconds),
            now_seconds=self.clock.now(),
            inner_lr=engine.inner_lr,
        )
        self.telling.settled(columns, taken, results, unanswered)

    def _marked(self, record: Record) -> Record:
        """The record, which is decoded next; with its flaw, where it is to be passed."""
        self.trials.decoding(record)
        passed = self.passed.get((record.partition, record.offset)) if self.passed else None
        return record if passed is None else record._replace(flaw=passed.flaw)

    def _join(self, taken: Taken, now_seconds: float) -> None:
        """Add what the open iteration admits; closes it when it is complete."""
        self.gathering.take(taken, now_seconds)
        self._taken[taken.record.partition] = taken.record.offset + 1
        if taken.event and not isinstance(taken.read, BadEvent | Repeated):
            self._open_ids.add(taken.event)
        if isinstance(taken.read, Portion):
            self._dropped = self._dropped.plus(taken.read.dropped)
        self._waiting += 1
        if self.gathering.complete:
            self.close()

    def _change(self, taken: Taken, now_seconds: float) -> None:
        """Let it be a chunk of its own: statistics and gathered examples are those of all before it."""
        self.settle()
        self._join(taken, now_seconds)
        self.settle()

    def _give_up(self) -> list[Taken]:
        """What was gathered; nothing waits any more."""
        self.cutter.settled()
        self._waiting, self._dropped = 0, NOTHING
        self._open_ids.clear()
        return self.gathering.close()

    def _contains(self, event: bytes, number: int) -> bool:
        """Whether it was learned; what waits of it is applied first, for it may be refused."""
        if event in self._open_ids:
            self.close()
        if event in self._pending.ids:
            self.settle()
        return self.ids.known(event, number)

    def _know(self, taken: Sequence[Taken], results: Sequence[Result]) -> None:
        """Keep the ids of what was taken into the state; the ledger has not counted it yet."""
        for number, (one, result) in enumerate(
            zip(taken, results, strict=True), start=self.ledger.tally.records + 1
        ):
            if one.event and isinstance(result, int | Changed):
                self.ids.add(one.event, number)

    def _pass(self) -> None:
        """The state passes what was taken where nothing waits."""
        if not self.open:
            self.ledger.positions.update(self._taken)

    def _read(self, record: Record, number: int) -> Read:
        try:
            read = self.decode(record)
            if isinstance(read, (TaskEvent, Change)):
                return read
            if isinstance(read, Question):
                return self._asked(read, number)
            if self.gathering.holds(read.task):
                self.close()  # what its task holds is known when that event is learned, or refused
            if self._pending.tasks.get(read.task):
                self.settle()
            return self.cutter.portion(read, number)
        except BadEvent as refusal:
            return refusal
        except MemoryError as error:
            return OutOfMemory(f"reading it took more memory than there is: {error}", stage="decode")

    def _asked(self, question: Question, number: int) -> Asked:
        """The question; it closes no iteration, for what is asked changes nothing that is learned."""
        waits = self._pending.tasks.get(question.task) or self.gathering.holds(question.task)
        if question.support is None and waits:
            self.settle()  # what its task holds is known when what waits of it is learned, or refused
        return self.cutter.asked(question, number)
