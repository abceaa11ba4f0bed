"""The loop: poll, decode, step, observe, checkpoint, commit. Nothing else.

The events of a poll, six hops:
    1. `source.poll` gives records; their order goes into the order log before the first is applied.
    2. `decode` reads a task event, or the record goes to the dead letters.
    3. Events are gathered into iterations (`batching`; of one event by default), and those of a poll into a
       chunk (`intake`); `engine` has the tasks' rows at hand, learns one iteration after the other, folds.
    4. Observers fold the outcomes.
    5. When due, `commit` writes dirty rows, meta state and next offsets in one transaction, beside the loop;
       then the order log forgets what the state contains.
    6. The broker is told the offsets, for lag tools only.

Invariant: whatever happens between two hops, a restart applies each event exactly once, in the same order and
in the same iterations. An iteration that is still open belongs to the order log, never to the state.
"""

import math
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from streammeta.clock import Clock
from streammeta.events import Cut, Passed, Positions, Record, Run
from streammeta.outcomes import RatesChanged, Turned
from streammeta.runtime.commit import Aside, Commits, in_thread
from streammeta.runtime.controls import CheckpointPolicy, Controls, Rates
from streammeta.runtime.intake import Intake
from streammeta.runtime.orders import OrderLog, runs_of
from streammeta.runtime.recovery import Recovery
from streammeta.runtime.switching import Switching
from streammeta.state.checkpoint import Origin
from streammeta.state.store import Store
from streammeta.stream.base import Source

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
"""How long an idle loop waits before it looks at its controls again."""
TELL_SECONDS = 1.0
"""How often a long poll is interrupted to tell how far it was applied."""
SHORTEST_POLL_SECONDS = 0.001
"""What a poll may take when the open iteration is due."""


@dataclass
class Loop:
    """Moves events from the source through the engine into the store.

    Attributes:
        intake: Applies them.
        reload: Reads the learning rates again, None when they cannot be read.
        history: What watchers keep with the state, as of all outcomes told so far.
        aside: Runs the writing of a checkpoint.
        commits: Makes them.
        switching: Decides who computes the steps.
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
    aside: Aside = in_thread
    constants: bytes | None = None
    commits: Commits = field(init=False)
    switching: Switching = field(init=False)
    _restoring: bool = field(init=False, default=False)
    _replayed: float = field(init=False, default=1.0)
    _told_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """What makes its checkpoints, and what decides who computes."""
        self.switching = Switching(
            self.source, self.intake, self.order_log, stopped=lambda: self.controls.stop
        )
        self.commits = Commits(
            source=self.source,
            intake=self.intake,
            store=self.store,
            order_log=self.order_log,
            origin=self.origin,
            clock=self.clock,
            history=self.history,
            waiting=self._tell_unacknowledged,
            aside=self.aside,
            constants=self.constants,
        )

    def run(self, *, until_end: bool = False) -> None:
        """Learn until stopped, or until the ends that the partitions had at the start.

        Always ends with a checkpoint, except by an exception: then the last checkpoint stands.

        Raises:
            StreammetaError: the source, the dead letters or the store gave up; the message says why.
        """
        try:
            self._run(until_end=until_end)
        finally:
            self.commits.rest()

    def _run(self, *, until_end: bool) -> None:
        self._start()
        ends = self.source.ends() if until_end else None
        self.commits.now()
        self._recover()
        while not self.controls.stop and not self._reached(ends):
            records = self._poll()
            if self._follow() and ends is not None:
                ends = self.source.ends()
            self._turn(records)
        if not self.controls.stop:
            self._cut()
        self.controls.checkpoint = False
        self.commits.now()

    def _start(self) -> None:
        """Take the positions that the source could go to; runs that the topic no longer holds are no more."""
        ledger = self.intake.ledger
        before, was = ledger.positions, ledger.topic_id
        begin = dict(self.source.start(before, was))
        ledger.topic_id = self.source.identity() or was
        self.intake.start(begin)
        self.switching.begin()
        logged = {entry.partition for entry in self.order_log.pending({}) if isinstance(entry, Run | Passed)}
        if was and ledger.topic_id != was:
            self._drop_runs({*logged, *before, *begin})
        else:
            back = {p for p, offset in before.items() if begin.get(p, -1) < offset}
            self._drop_runs(back | (logged - begin.keys()))

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
        self.commits.now()
        return True

    def _drop_runs(self, partitions: Collection[int]) -> None:
        # Before the new positions are committed: a crash between must not leave runs that seem to fit.
        if partitions:
            self.order_log.forget(dict.fromkeys(partitions, sys.maxsize))
            passed = self.intake.passed  # and what was tried: other records have these places now
            self.intake.passed = {place: one for place, one in passed.items() if place[0] not in partitions}
            self.intake.trials.forget()

    def _recover(self) -> None:
        """Apply again what was applied after the last checkpoint, but for what is to be passed."""
        self._pass_over()
        self._restoring = bool(self.order_log.pending(self.intake.ledger.positions))
        executors = self.intake.engine.executors
        executors.recovering = self._restoring
        recovery = Recovery(
            source=self.source,
            intake=self.intake,
            order_log=self.order_log,
            apply=self._take_all,
            close=self._close,
            stopped=lambda: self.controls.stop,
            drop_runs=self._drop_runs,
            turn=self.switching.turn,
            turned=self._tell_replayed,
        )
        if recovery.run():
            self._restoring = executors.recovering = False
            self._replayed = 1.0
        self._tell_turned()

    def _pass_over(self) -> None:
        """Know what processes before this one have died of, or could not do for want of memory."""
        intake = self.intake
        condemned = intake.trials.condemned
        if condemned:
            log.warning("records passed: two processes died while trying them", records=condemned)
        self.order_log.append(condemned)
        intake.trials.begin_life()
        for entry in self.order_log.pending(intake.ledger.positions):
            if isinstance(entry, Passed):
                intake.passed[entry.partition, entry.offset] = entry

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
            switches = self.switching.due()
            self.order_log.append([*switches, *runs_of(new)])
            self.switching.turn(switches)
        if self._take_all(new):
            self.intake.pass_on(passed)
            self._attend()

    def _take_all(self, records: Iterable[Record]) -> bool:
        """Hops 2 to 5 of new records, in chunks; False when it was asked to stop on the way."""
        intake = self.intake
        for record in records:
            intake.take(record)
            if intake.chunk_full or self._due() or self.controls.stop:
                intake.settle()
                self._attend()
                if self.controls.stop:
                    return False
        intake.settle()
        self._attend()
        return not self.controls.stop

    def _cut(self) -> None:
        """Close the open iteration where the records do not say so; logged, so that a replay does it too."""
        if self.intake.open:
            self.order_log.append([Cut()])
            self._close()

    def _close(self) -> None:
        self.intake.close()
        self.intake.settle()
        self.intake.tape.cut()

    def _due(self) -> bool:
        """Whether a checkpoint is due, after what waits in the chunk."""
        news = self.intake.ledger.since_checkpoint + self.intake.unsettled
        return news >= self.policy.events

    def _attend(self) -> None:
        """Do what signals asked for, and checkpoint when due; tell each second how far the loop is."""
        if self.clock.monotonic() - self._told_at >= TELL_SECONDS:
            self._tell_turned()
        engine, news = self.intake.engine, self.intake.ledger.since_checkpoint
        self.commits.look()
        due = (news or self.intake.ledger.positions != self.commits.positions) and (
            news >= self.policy.events
            or self.clock.monotonic() - self.commits.began_seconds >= self.policy.seconds
        )
        if due or self.intake.crowded or self.controls.checkpoint or self.controls.reload:
            self.controls.checkpoint = False
            self.commits.begin()
        if engine.memories.full:
            self.commits.end()
        if engine.memories.full:
            self.commits.now()
        if self.controls.reload:
            self.controls.reload = False
            rates = self.reload()
            if rates is not None:
                before = engine.inner_lr, engine.meta_lr
                engine.set_rates(*rates)
                if not all(math.isclose(*pair, rel_tol=1e-6) for pair in zip(before, rates, strict=True)):
                    self.intake.telling.tell(RatesChanged(*rates))

    def _reached(self, ends: Positions | None) -> bool:
        if ends is None:
            return False
        positions = self.source.positions()
        return all(positions.get(partition, 0) >= end for partition, end in ends.items())

    def _tell_replayed(self, share: float) -> None:
        self._replayed = share
        self._tell_turned()

    def _tell_turned(self, *, unacknowledged: bool = False) -> None:
        self._told_at = self.clock.monotonic()
        condition = self.source.condition(self.intake.taken)
        lag = self.source.lag(self.intake.taken) if condition.serving else {}
        replayed = self.source.replayed()
        share = self._replayed if replayed is None else replayed
        due = condition.readable or (unacknowledged and condition.serving)
        topic, restoring = self.intake.telling.topic, self._restoring
        self.switching.tell()
        self.intake.telling.tell(Turned(topic, condition.serving, restoring, lag, share, condition, due))

    def _tell_unacknowledged(self) -> None:
        """The loop waits for letters that the broker does not acknowledge."""
        self._tell_turned(unacknowledged=True)
