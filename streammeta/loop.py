"""The loop: poll, decode, step, observe, checkpoint, commit. Nothing else.

One event, six hops:
    1. `source.poll` gives records; their order goes into the order log before the first is applied.
    2. `decode` reads a task event, or the record goes to the dead letters.
    3. `engine` loads the task's entry, updates, puts it back as dirty.
    4. Observers fold the outcome.
    5. When due: dead letters are acknowledged, then `store.commit` writes dirty rows, meta state and next
       offsets in one transaction, then the order log forgets what the state contains.
    6. The broker is told the offsets, for lag tools only.

Invariant: whatever happens between two hops, a restart applies each event exactly once, in the same order.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

from streammeta.checkpoint import Checkpoint, Origin, pack
from streammeta.clock import Clock
from streammeta.engine import Engine, Step
from streammeta.errors import BadEvent
from streammeta.events import Positions, Record, Run, TaskEvent
from streammeta.outcomes import Checkpointed, Duplicate, Learned, Observer, Outcome, Refused, Turned
from streammeta.store.base import Store
from streammeta.stream.base import DeadLetters, Source

POLL_SECONDS = 0.2
"""How long an idle loop waits before it looks at its controls again."""


class OrderLog(Protocol):
    """Remembers in which order runs are applied, until a checkpoint contains them."""

    def append(self, runs: Sequence[Run]) -> None:
        """Hand the runs to the operating system."""

    def pending(self, positions: Positions) -> list[Run]:
        """What was logged and `positions` does not contain, in order."""

    def forget(self, positions: Positions) -> None:
        """Drop what `positions` contains."""


class Rates(NamedTuple):
    """The learning rates that a reload brings."""

    inner_lr: float
    meta_lr: float


@dataclass(slots=True)
class Controls:
    """What signals ask of the loop; it looks between two events.

    Attributes:
        stop: Finish the event in hand, checkpoint, return.
        checkpoint: Checkpoint now.
        reload: Read the configuration again.
    """

    stop: bool = False
    checkpoint: bool = False
    reload: bool = False


@dataclass(frozen=True, slots=True)
class CheckpointPolicy:
    """A checkpoint is due after so many events, or so many seconds with news, whichever is first."""

    events: int
    seconds: float


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
class Loop:
    """Moves events from the source through the engine into the store.

    Attributes:
        topic: The name that outcomes carry.
        decode: Reads a record, or raises BadEvent.
        reload: Reads the learning rates again, None when they cannot be read.
        observers: Told what happened.
    """

    topic: str
    source: Source
    decode: Callable[[Record], TaskEvent]
    dead_letters: DeadLetters
    engine: Engine
    store: Store
    order_log: OrderLog
    origin: Origin
    ledger: Ledger
    policy: CheckpointPolicy
    observers: Sequence[Observer]
    controls: Controls
    reload: Callable[[], Rates | None]
    clock: Clock = field(default_factory=Clock)
    _checkpoint_at: float = field(init=False, default=0.0)
    _restoring: bool = field(init=False, default=False)

    def run(self, *, until_end: bool = False) -> None:
        """Learn until stopped, or until the ends that the partitions had at the start.

        Always ends with a checkpoint, except by an exception: then the last checkpoint stands.

        Raises:
            StreammetaError: the source, the dead letters or the store gave up; the message says why.
        """
        self._start()
        ends = self.source.ends() if until_end else None
        self._checkpoint()
        self._recover()
        while not self.controls.stop and not self._reached(ends):
            records = self.source.poll(POLL_SECONDS)
            if self._follow() and ends is not None:
                ends = self.source.ends()
            self._apply(records)
            self._tell_turned()
        self._checkpoint()

    def _start(self) -> None:
        """Take the positions that the source could go to; runs that the topic no longer holds are no more."""
        before, was = self.ledger.positions, self.ledger.topic_id
        begin = dict(self.source.start(before, was))
        self.ledger.positions, self.ledger.topic_id = begin, self.source.identity() or was
        if was and self.ledger.topic_id != was:
            self._drop_runs({*before, *begin})
        else:
            self._drop_runs({p for p, offset in before.items() if begin.get(p, -1) < offset})

    def _follow(self) -> bool:
        """Go where the source had to go, if it had to; told before the records that follow are applied."""
        moves = self.source.moved()
        if not moves:
            return False
        was, before = self.ledger.topic_id, self.ledger.positions
        self.ledger.topic_id = self.source.identity() or was
        replaced = self.ledger.topic_id != was
        self._drop_runs({*before, *moves} if replaced else moves)
        self.ledger.positions = dict(moves) if replaced else {**before, **moves}
        self._checkpoint()
        return True

    def _drop_runs(self, partitions: Collection[int]) -> None:
        # Before the new positions are committed: a crash between must not leave runs that seem to fit.
        if partitions:
            self.order_log.forget(dict.fromkeys(partitions, sys.maxsize))

    def _recover(self) -> None:
        """Apply again, in the logged order, what was applied after the last checkpoint."""
        runs = self.order_log.pending(self.ledger.positions)
        self._restoring = bool(runs)
        self._tell_turned()
        ended: set[int] = set()
        for run in runs:
            if self.controls.stop:
                return
            if run.partition in ended:
                continue
            for record in self._new(self.source.fetch(run, self._tell_turned)):
                self._apply_one(record)
                if self.controls.stop:
                    return
            reached = min(run.end, self.source.positions()[run.partition])
            self.ledger.positions[run.partition] = reached
            if reached < run.end:  # the log ends there: its later runs are gone too
                ended.add(run.partition)
                self._drop_runs(ended)
            self._tell_turned()
        self._restoring = False

    def _apply(self, records: Iterable[Record]) -> None:
        """Hops 1 to 5 of one poll."""
        new = list(self._new(records))
        if new:
            self.order_log.append(runs_of(new))
        for record in new:
            self._apply_one(record)
            if self.controls.stop:
                return
        self._attend()

    def _new(self, records: Iterable[Record]) -> Iterator[Record]:
        """The records that the state does not contain."""
        positions = dict(self.ledger.positions)
        for record in records:
            if record.offset >= positions.get(record.partition, 0):
                positions[record.partition] = record.offset + 1
                yield record
            else:
                self._tell(Duplicate(self.topic, record.partition, record.offset))

    def _apply_one(self, record: Record) -> None:
        """Hops 2 to 5 of one record."""
        try:
            outcome: Outcome = self._learn(record)
        except BadEvent as refusal:
            self.dead_letters.send(record, refusal)
            self.ledger.refused[refusal.reason] = self.ledger.refused.get(refusal.reason, 0) + 1
            outcome = Refused(self.topic, record.partition, record.offset, refusal.reason, str(refusal))
        self.ledger.positions[record.partition] = record.offset + 1
        self.ledger.since_checkpoint += 1
        self._tell(outcome)
        self._attend()

    def _learn(self, record: Record) -> Learned:
        """Hops 2 and 3, timed."""
        tick = self.clock.monotonic
        times = [tick()]
        event = self.decode(record)
        times.append(tick())
        entries = self.engine.load([event])
        times.append(tick())
        step = self.engine.step([event], entries)
        times.append(tick())
        self.engine.keep(step)
        times.append(tick())
        return self._learned(record, event, step, [end - begin for begin, end in pairwise(times)])

    def _learned(
        self, record: Record, event: TaskEvent, step: Step, stage_seconds: Sequence[float]
    ) -> Learned:
        (update,) = step.updates
        before, after, losses = update.before, update.entry.stats, update.losses
        decode_seconds, load_seconds, step_seconds, store_seconds = stage_seconds
        return Learned(
            topic=self.topic,
            partition=record.partition,
            task=event.task,
            events=step.progress.events,
            task_events=after.events,
            loss_meta=losses.meta,
            loss_adapted=losses.adapted,
            loss_memory=losses.memory,
            task_loss=after.loss,
            prequential=step.progress.prequential,
            gradient_norm=step.gradient_norm,
            update_norm=step.update_norm,
            tracking_error=update.tracking_error,
            staleness_events=after.last_event - before.last_event if before.events else None,
            inner_lr=self.engine.inner_lr,
            meta_lr=self.engine.meta_lr,
            age_seconds=self.clock.now() - event.time_ms / 1000,
            decode_seconds=decode_seconds,
            load_seconds=load_seconds,
            step_seconds=step_seconds,
            store_seconds=store_seconds,
        )

    def _attend(self) -> None:
        """Do what signals asked for, and checkpoint when due."""
        due = self.ledger.since_checkpoint and (
            self.ledger.since_checkpoint >= self.policy.events
            or self.clock.monotonic() - self._checkpoint_at >= self.policy.seconds
        )
        if due or self.engine.memories.full or self.controls.checkpoint or self.controls.reload:
            self._checkpoint()
        if self.controls.reload:
            self.controls.reload = False
            rates = self.reload()
            if rates is not None:
                self.engine.set_rates(rates.inner_lr, rates.meta_lr)

    def _checkpoint(self) -> None:
        """Hops 5 and 6."""
        self.controls.checkpoint = False
        began = self.clock.monotonic()
        self.dead_letters.flush(self._tell_cut_off)
        meta = pack(self._snapshot())
        try:
            written = self.store.commit(meta, self.engine.memories.dirty())
        except Exception:
            self._tell_checkpointed(ok=False, began=began, written=0)
            raise
        self.engine.memories.cleaned()
        self.order_log.forget(self.ledger.positions)
        self.source.committed(self.ledger.positions)
        self.ledger.since_checkpoint = 0
        self._tell_checkpointed(ok=True, began=began, written=written)

    def _snapshot(self) -> Checkpoint:
        return Checkpoint(
            origin=self.origin,
            state=self.engine.state,
            progress=self.engine.progress,
            positions=self.ledger.positions,
            refused=self.ledger.refused,
            topic_id=self.ledger.topic_id,
        )

    def _reached(self, ends: Positions | None) -> bool:
        if ends is None:
            return False
        positions = self.source.positions()
        return all(positions.get(partition, 0) >= end for partition, end in ends.items())

    def _tell(self, outcome: Outcome) -> None:
        for observer in self.observers:
            observer(outcome)

    def _tell_turned(self) -> None:
        connected = self.source.connected()
        lag = self.source.lag() if connected else {}
        self._tell(Turned(self.topic, connected=connected, restoring=self._restoring, lag=lag))

    def _tell_cut_off(self) -> None:
        """The loop lives, and waits for a broker that does not acknowledge."""
        self._tell(Turned(self.topic, connected=False, restoring=self._restoring, lag={}))

    def _tell_checkpointed(self, *, ok: bool, began: float, written: int) -> None:
        self._checkpoint_at = self.clock.monotonic()
        self._tell(
            Checkpointed(
                ok=ok,
                seconds=self._checkpoint_at - began,
                bytes=written,
                timestamp_seconds=self.clock.now(),
                tasks_cached=len(self.engine.memories),
                tasks_stored=self.store.count(),
            )
        )


def runs_of(records: Sequence[Record]) -> list[Run]:
    """Runs of records that lie in one partition, in order.

    >>> at = lambda partition, offset: Record("t", partition, offset, 0, None, None)
    >>> runs_of([at(0, 5), at(0, 7), at(1, 2)])
    [Run(partition=0, first=5, end=8), Run(partition=1, first=2, end=3)]
    """
    runs: list[Run] = []
    for record in records:
        if runs and runs[-1].partition == record.partition:
            runs[-1] = runs[-1]._replace(end=record.offset + 1)
        else:
            runs.append(Run(record.partition, record.offset, record.offset + 1))
    return runs
