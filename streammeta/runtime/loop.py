"""The loop: poll, decode, step, observe, checkpoint, commit. Nothing else.

One event, six hops:
    1. `source.poll` gives records; their order goes into the order log before the first is applied.
    2. `decode` reads a task event, or the record goes to the dead letters.
    3. Events are gathered into an iteration (`batching`; of one event by default); `engine` loads the tasks'
       entries, updates, puts them back as dirty.
    4. Observers fold the outcomes.
    5. When due: dead letters are acknowledged and the recording, if any, is on the disk, then `store.commit`
       writes dirty rows, meta state and next offsets in one transaction, then the order log forgets what the
       state contains.
    6. The broker is told the offsets, for lag tools only.

Invariant: whatever happens between two hops, a restart applies each event exactly once, in the same order and
in the same iterations. An iteration that is still open belongs to the order log, never to the state.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from streammeta.clock import Clock
from streammeta.events import Cut, Positions, Record, Run
from streammeta.outcomes import Checkpointed, Turned
from streammeta.runtime.intake import Intake
from streammeta.state.checkpoint import Checkpoint, Origin, RecordingMark, pack
from streammeta.state.store import Store
from streammeta.stream.base import Source

POLL_SECONDS = 0.2
"""How long an idle loop waits before it looks at its controls again."""
TELL_SECONDS = 1.0
"""How often a long poll is interrupted to tell how far it was applied."""
SHORTEST_POLL_SECONDS = 0.001
"""What a poll may take when the open iteration is due."""


class OrderLog(Protocol):
    """Remembers in which order runs are applied, and cut, until a checkpoint contains them."""

    def append(self, entries: Sequence[Run | Cut]) -> None:
        """Hand the entries to the operating system."""

    def pending(self, positions: Positions) -> list[Run | Cut]:
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
        stop: Finish the iteration in hand, checkpoint, return; one that is still open waits for the restart.
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


@dataclass
class Loop:
    """Moves events from the source through the engine into the store.

    Attributes:
        intake: Applies them.
        reload: Reads the learning rates again, None when they cannot be read.
        history: What watchers keep with the state, as of all outcomes told so far.
        constants: What the store does not hold yet of the model: committed with the first checkpoint.
    """

    source: Source
    intake: Intake
    store: Store
    order_log: OrderLog
    origin: Origin
    policy: CheckpointPolicy
    controls: Controls
    reload: Callable[[], Rates | None]
    clock: Clock
    history: Callable[[], bytes] = bytes
    constants: bytes | None = None
    _checkpoint_at: float = field(init=False, default=0.0)
    _restoring: bool = field(init=False, default=False)
    _replayed: float = field(init=False, default=1.0)
    _told_at: float = field(init=False, default=0.0)
    _committed: Positions = field(init=False, default_factory=dict)

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
            records = self._poll()
            if self._follow() and ends is not None:
                ends = self.source.ends()
            self._turn(records)
        if not self.controls.stop:
            self._cut()
        self._checkpoint()

    def _start(self) -> None:
        """Take the positions that the source could go to; runs that the topic no longer holds are no more."""
        ledger = self.intake.ledger
        before, was = ledger.positions, ledger.topic_id
        begin = dict(self.source.start(before, was))
        ledger.topic_id = self.source.identity() or was
        self.intake.start(begin)
        if was and ledger.topic_id != was:
            self._drop_runs({*before, *begin})
        else:
            self._drop_runs({p for p, offset in before.items() if begin.get(p, -1) < offset})

    def _follow(self) -> bool:
        """Go where the source had to go, if it had to; told before the records that follow are applied."""
        moves = self.source.moved()
        if not moves:
            return False
        ledger = self.intake.ledger
        was, ledger.topic_id = ledger.topic_id, self.source.identity() or ledger.topic_id
        if ledger.topic_id != was:
            self._drop_runs({*ledger.positions, *self.intake.taken, *moves})
            self.intake.start(moves)
        else:
            self._drop_runs(moves)
            self.intake.move(moves)
        self._checkpoint()
        return True

    def _drop_runs(self, partitions: Collection[int]) -> None:
        # Before the new positions are committed: a crash between must not leave runs that seem to fit.
        if partitions:
            self.order_log.forget(dict.fromkeys(partitions, sys.maxsize))

    def _recover(self) -> None:
        """Apply again, in the logged order and iterations, what was applied after the last checkpoint."""
        entries = self.order_log.pending(self.intake.ledger.positions)
        self._restoring = bool(entries)
        ended: set[int] = set()
        for number, entry in enumerate(entries):
            self._replayed = number / len(entries)
            self._tell_turned()
            if self.controls.stop:
                return
            if isinstance(entry, Cut):
                self._close()
            elif entry.partition not in ended and not self._repeat(entry):
                ended.add(entry.partition)
                self._drop_runs(ended)
        self._restoring = self.controls.stop
        if not self._restoring:
            self._replayed = 1.0
        self._tell_turned()

    def _repeat(self, run: Run) -> bool:
        """Apply a logged run again; False when the topic's log now ends within it."""
        for record in self.intake.new(self.source.fetch(run, self._tell_turned)):
            self._take(record)
            if self.controls.stop:
                return True
        reached = min(run.end, self.source.positions()[run.partition])
        self.intake.pass_to(run.partition, reached)
        return reached == run.end

    def _poll(self) -> Sequence[Record]:
        """What came, at the latest when the open iteration is due."""
        left_seconds = max(self.intake.left_seconds(), SHORTEST_POLL_SECONDS)
        return self.source.poll(min(POLL_SECONDS, left_seconds))

    def _turn(self, records: Iterable[Record]) -> None:
        """Apply what a poll brought, behind an iteration that is due."""
        if self.source.is_cut() or self.intake.left_seconds() <= 0:
            self._cut()
        self._apply(records)
        self._tell_turned()

    def _apply(self, records: Iterable[Record]) -> None:
        """Hops 1 to 5 of one poll."""
        passed = self.source.passed()
        new = list(self.intake.new(records))
        if new:
            self.order_log.append(runs_of(new))
        for record in new:
            self._take(record)
            if self.controls.stop:
                return
        self.intake.pass_on(passed)
        self._attend()

    def _take(self, record: Record) -> None:
        """Hops 2 to 5 of one record."""
        self.intake.take(record)
        self._attend()

    def _cut(self) -> None:
        """Close the open iteration where the records do not say so; logged, so that a replay does it too."""
        if self.intake.open:
            self.order_log.append([Cut()])
            self._close()

    def _close(self) -> None:
        self.intake.close()
        self.intake.tape.cut()

    def _attend(self) -> None:
        """Do what signals asked for, and checkpoint when due; tell each second how far the loop is."""
        if self.clock.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell_turned()
        engine, news = self.intake.engine, self.intake.ledger.since_checkpoint
        due = (news or self.intake.ledger.positions != self._committed) and (
            news >= self.policy.events or self.clock.monotonic() - self._checkpoint_at >= self.policy.seconds
        )
        if due or engine.memories.full or self.controls.checkpoint or self.controls.reload:
            self._checkpoint()
        if self.controls.reload:
            self.controls.reload = False
            rates = self.reload()
            if rates is not None:
                engine.set_rates(rates.inner_lr, rates.meta_lr)

    def _checkpoint(self) -> None:
        """Hops 5 and 6."""
        self.controls.checkpoint = False
        began = self.clock.monotonic()
        ledger, tape = self.intake.ledger, self.intake.tape
        self.intake.dead_letters.flush(self._tell_unacknowledged)
        meta = replace(
            pack(self._snapshot(tape.sync(ledger.positions, ledger.topic_id))), history=self.history()
        )
        try:
            written = self.store.commit(meta, self.intake.engine.dirty(), self.constants)
        except Exception:
            self._tell_checkpointed(ok=False, began=began, written=0)
            raise
        self.constants = None
        self.intake.engine.memories.cleaned()
        self._committed = dict(ledger.positions)
        self.order_log.forget(ledger.positions)
        tape.committed()
        self.source.committed(ledger.positions)
        ledger.since_checkpoint = 0
        self._tell_checkpointed(ok=True, began=began, written=written)

    def _snapshot(self, mark: RecordingMark | None) -> Checkpoint:
        return Checkpoint(
            origin=self.origin,
            state=self.intake.engine.state,
            progress=self.intake.engine.progress,
            positions=self.intake.ledger.positions,
            refused=self.intake.ledger.refused,
            topic_id=self.intake.ledger.topic_id,
            tally=self.intake.ledger.tally,
            recording=mark,
        )

    def _reached(self, ends: Positions | None) -> bool:
        if ends is None:
            return False
        positions = self.source.positions()
        return all(positions.get(partition, 0) >= end for partition, end in ends.items())

    def _tell_turned(self, *, unacknowledged: bool = False) -> None:
        self._told_at = self.clock.monotonic()
        condition = self.source.condition(self.intake.taken)
        lag = self.source.lag(self.intake.taken) if condition.serving else {}
        replayed = self.source.replayed()
        share = self._replayed if replayed is None else replayed
        due = condition.readable or (unacknowledged and condition.serving)
        topic, restoring = self.intake.topic, self._restoring
        self.intake.tell(Turned(topic, condition.serving, restoring, lag, share, condition, due))

    def _tell_unacknowledged(self) -> None:
        """The loop waits for letters that the broker does not acknowledge."""
        self._tell_turned(unacknowledged=True)

    def _tell_checkpointed(self, *, ok: bool, began: float, written: int) -> None:
        self._checkpoint_at = self.clock.monotonic()
        self.intake.tell(
            Checkpointed(
                ok=ok,
                seconds=self._checkpoint_at - began,
                bytes=written,
                timestamp_seconds=self.clock.now(),
                tasks_cached=len(self.intake.engine.memories),
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
