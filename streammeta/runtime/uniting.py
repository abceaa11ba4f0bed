"""The end of a round: every rank commits what it learned, then all go on from the mean of their meta-models.

    1. Closed: a commit holds the rank's state at the end of its round, what it weighs, and that it is closed.
    2. The rank says so to the others, and waits until all have.
    3. One all-reduce brings the mean, which replaces the meta-state; the next commit holds it too.

Invariant: a rank takes part in a mean only with what its last commit holds. So whatever dies between 1 and 3,
or before the commit after it: a rank that has united in a round still has its mean, and one that has not is
still where it closed the round; it takes the mean from the other, or all make it again, to the same bits.

Where rounds overlap (`distributed.overlap`), step 3 of a round is made while the next one is learned; before
that one is closed w moves by what the others add to what was sent: w ← w + (mean − sent). The rest of the
state stays the rank's own. The commits in between hold what was sent.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import structlog
import torch

from streammeta.algorithms.base import Merge, State, to_mean
from streammeta.algorithms.merging import counts_of
from streammeta.clock import Clock
from streammeta.config import Config, config_hash
from streammeta.config.schema import DistributedSection
from streammeta.distributed.agreement import check_own, check_settings, leader
from streammeta.distributed.group import Group
from streammeta.distributed.words import Arrival, Report, arrivals, pack_word
from streammeta.errors import ConfigError
from streammeta.learner.flat import state_tensors
from streammeta.outcomes import Awaiting, RankView, United
from streammeta.runtime.blueprint import Blueprint
from streammeta.runtime.commit import Commits
from streammeta.runtime.controls import Controls
from streammeta.runtime.exchange import LOOK_SECONDS, Exchange, UnderWay, known
from streammeta.runtime.intake import Intake
from streammeta.runtime.rounds import RoundsOf
from streammeta.state.checkpoint import pack_state, unpack_state
from streammeta.state.standing import Kept, Standing
from streammeta.state.store import Store
from streammeta.stream.base import Source
from streammeta.stream.share import Share

log = structlog.get_logger(__name__)


class Member(NamedTuple):
    """What a rank learns with.

    Attributes:
        share: Of the topic, as the source reads it.
    """

    group: Group
    share: Share


class _ToldToStop(Exception):
    """Ends a wait."""


@dataclass
class Uniting:
    """`Rounds` of a rank in its group.

    Attributes:
        settings: A hash of what must be the same for all ranks.
        merge: The learner's.
        turned: Called while it waits.
        stopped: Whether it was asked to stop.
        lag: Records known to be unread; None while unknown.
        share: Of the topic.
        kept: What the state keeps of the last rounds.
    """

    group: Group
    policy: DistributedSection
    settings: str
    merge: Merge
    intake: Intake
    commits: Commits
    clock: Clock
    turned: Callable[[], None]
    stopped: Callable[[], bool]
    lag: Callable[[], int | None]
    share: Share
    kept: Kept
    look_seconds: float = field(init=False, default=LOOK_SECONDS)
    _under_way: UnderWay | None = field(init=False, default=None)
    _sent: State = field(init=False)
    _began_seconds: float = field(init=False, default=0.0)
    _told_seconds: float = field(init=False, default=0.0)
    _awaited: Sequence[int] = field(init=False, default=())
    _distance: float = field(init=False, default=0.0)

    @property
    def standing(self) -> Standing:
        """Where the state stands."""
        ledger = self.intake.ledger
        if ledger.standing is None:
            records, events = ledger.tally.records, self.intake.engine.progress.events
            world = 1 if records else self.group.world  # it learned alone before
            ledger.standing = Standing(self.group.rank, world, records=records, events=events)
        return ledger.standing

    @property
    def due(self) -> bool:
        """As `Rounds.due`."""
        return self._news() + self.intake.unsettled >= self.policy.round_events

    def begin(self) -> None:
        """As `Rounds.begin`."""
        check_own(self.standing, self.share)
        self.intake.ledger.standing = self.standing._replace(partitions=self.share.partitions)
        self._sent = unpack_state(self.kept.sent) if self.kept.sent else self.intake.engine.state
        self._began_seconds = self.clock.monotonic()
        with suppress(_ToldToStop):
            self._agree()
            if self.standing.closed > self.standing.united:
                self._go_on(ended=False)

    def wanted(self, *, idle: Callable[[], bool]) -> bool:
        """As `Rounds.wanted`: when the clock says so, or others wait and there is nothing to learn."""
        seconds = self.clock.monotonic() - self._began_seconds
        late = 0 < self.policy.round_seconds <= seconds
        if late and self._news():
            return True
        return (late or idle()) and self.group.begun(_label(self.standing.closed + 1))

    def close(self, *, ended: bool = False) -> bool:
        """As `Rounds.close`."""
        try:
            if self._under_way is not None:
                self._finish(self._under_way)
            self._close()
            return self._go_on(ended=ended)
        except _ToldToStop:
            return False

    def _news(self) -> int:
        """Records that entered the state in this round."""
        return self.intake.ledger.tally.records - self.standing.records

    def _agree(self) -> None:
        """Hear where all stand; where this rank lacks the mean of the newest round, another tells it."""
        arrival = Arrival(self.standing, self.settings, self.intake.engine.progress.events)
        found = arrivals(self.group.gather("begin", pack_word(arrival), self._wait))
        check_settings(found)
        root = leader(found)
        if root is None:
            return
        mean = self.group.spread(self.kept.mean, root, self._wait)
        if self.standing.united < found[root].standing.united:
            self._under_way = known(unpack_state(mean) if mean else None)

    def _close(self) -> None:
        """Step 1."""
        standing, engine = self.standing, self.intake.engine
        events = engine.progress.events
        self.intake.ledger.standing = standing._replace(
            closed=standing.closed + 1,
            weight=events - standing.events,
            records=self.intake.ledger.tally.records,
            events=events,
        )
        self._sent = engine.state
        if self.policy.overlap:
            self._keep(self.kept._replace(sent=pack_state(self._sent)))
        self._began_seconds = self.clock.monotonic()
        self.commits.now()

    def _go_on(self, *, ended: bool) -> bool:
        """Steps 2 and 3, or, where rounds overlap, only their beginning; whether all have ended."""
        late = self.policy.overlap and not ended
        under_way = self._under_way
        if under_way is None:
            exchange = Exchange(
                self.group,
                self.clock,
                _label(self.standing.closed),
                self._report(ended=ended),
                self._sent,
                uniform=self.policy.weights == "uniform",
            )
            under_way = exchange.aside(self._leave) if late else exchange.now
        self._under_way = under_way
        return not late and self._finish(under_way)

    def _report(self, *, ended: bool) -> Report:
        standing = self.standing
        return Report(
            standing.events, standing.weight, self.lag(), self._distance, ended, counts_of(self._sent)
        )

    def _finish(self, under_way: UnderWay) -> bool:
        """Go on from the mean, once it has come; whether all have ended."""
        began, standing = self.clock.monotonic(), self.standing
        met = under_way(self._wait)
        waited_seconds = self.clock.monotonic() - began
        self._under_way = None
        if met.mean is not None:
            self._distance = torch.linalg.vector_norm(self._sent.params - met.mean.params).item()
            self._adopt(met.mean)
        self._keep(Kept(b"" if met.mean is None else pack_state(met.mean)))
        self.intake.ledger.standing = standing._replace(united=standing.closed)
        self.intake.telling.tell(
            United(
                round=standing.closed,
                rank=self.group.rank,
                weight=met.share,
                distance=self._distance,
                waited_seconds=max(0.0, waited_seconds - met.seconds),
                seconds=met.seconds,
                bytes=met.bytes,
                ranks=[RankView(*report[:5]) for report in met.reports],
            )
        )
        return bool(met.reports) and all(report.ended for report in met.reports)

    def _adopt(self, mean: State) -> None:
        """The mean itself; where this rank has learned on meanwhile, what the others add to what it sent."""
        engine, sent = self.intake.engine, self._sent
        own = engine.state
        if all(map(torch.equal, state_tensors(own), state_tensors(sent))):
            engine.adopt(self.merge(own, mean))
        else:
            engine.adopt(own._replace(params=own.params + (mean.params - sent.params)))

    def _keep(self, kept: Kept) -> None:
        self.kept = kept
        self.commits.united = kept.pack()

    def _leave(self, _missing: Sequence[int]) -> None:
        if self.stopped():
            raise _ToldToStop

    def _wait(self, missing: Sequence[int]) -> None:
        """A slice of a wait has passed."""
        self._leave(missing)
        if self.clock.monotonic() - self._told_seconds >= 1.0:
            self._told_seconds = self.clock.monotonic()
            if missing != self._awaited:  # once for each that comes late
                self._awaited = missing
                log.info("waiting for ranks", round=self.standing.closed, ranks=[*missing])
            self.turned()
            self.intake.telling.tell(Awaiting(self.standing.closed, missing))


def _label(number: int) -> str:
    return f"round/{number}"


def uniting(
    config: Config, blueprint: Blueprint, member: Member, source: Source, store: Store, controls: Controls
) -> RoundsOf:
    """What unites a loop with those of the other ranks.

    Raises:
        ConfigError: states of this algorithm cannot unite.
    """
    (group, share), policy, merge = member, config.distributed, blueprint.learner.merge
    if isinstance(merge, str):
        if group.world > 1:
            raise ConfigError(
                f"algorithm.name = {config.algorithm.name!r}: several ranks cannot learn by it, for {merge}; "
                "take another algorithm, or a single process"
            )
        merge = to_mean
    settings = f"{config_hash(config)} {policy.round_events} {policy.weights} {policy.overlap}"

    def lag(intake: Intake) -> int | None:
        known = source.lag(intake.taken)
        return sum(known.values()) if known else None

    return lambda intake, commits, turned: Uniting(
        group=group,
        policy=policy,
        settings=settings,
        merge=merge,
        intake=intake,
        commits=commits,
        clock=commits.clock,
        turned=turned,
        stopped=lambda: controls.stop,
        lag=lambda: lag(intake),
        share=share,
        kept=Kept.unpack(store.united()),
    )
