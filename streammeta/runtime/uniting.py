"""The end of a round: every rank commits what it learned, then all go on from the mean of their meta-models.

    1. Closed: a commit holds the rank's state at the end of its round, what it weighs, and that it is closed.
    2. The rank says so to the others, and waits until all have.
    3. One all-reduce brings the mean, which replaces the meta-state; the next commit holds it too.

Invariant: a rank takes part in a mean only with what its last commit holds. So whatever dies between 1 and 3,
or before the commit after it: a rank that has united in a round still has its mean, and one that has not is
still where it closed the round; it takes the mean from the other, or all make it again, to the same bits.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from streammeta.algorithms.base import Merge, State, to_mean
from streammeta.algorithms.merging import counts_of, largest, mean_state, numbers_of, shares
from streammeta.clock import Clock
from streammeta.config import Config, config_hash
from streammeta.config.schema import DistributedSection
from streammeta.distributed.agreement import check_own, check_settings, leader
from streammeta.distributed.group import Group
from streammeta.distributed.words import Arrival, Report, arrivals, pack_word, reports
from streammeta.errors import ConfigError
from streammeta.outcomes import Awaiting, RankView, United
from streammeta.runtime.blueprint import Blueprint
from streammeta.runtime.commit import Commits
from streammeta.runtime.controls import Controls
from streammeta.runtime.intake import Intake
from streammeta.runtime.rounds import RoundsOf
from streammeta.state.checkpoint import pack_state, unpack_state
from streammeta.state.standing import Standing
from streammeta.state.store import Store
from streammeta.stream.base import Source
from streammeta.stream.share import Share

LOOK_SECONDS = 0.05
"""How long an idle rank may keep the others waiting before it looks."""


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
        kept: The mean of the last round that the state has united in (`pack_state`).
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
    kept: bytes
    look_seconds: float = field(init=False, default=LOOK_SECONDS)
    _began_seconds: float = field(init=False, default=0.0)
    _told_seconds: float = field(init=False, default=0.0)
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
        with suppress(_ToldToStop):
            self._agree()
            if self.standing.closed > self.standing.united:
                self._unite(ended=False)
        self._began_seconds = self.clock.monotonic()

    def wanted(self, *, idle: Callable[[], bool]) -> bool:
        """As `Rounds.wanted`: when the clock says so, or others wait and there is nothing to learn."""
        seconds = self.clock.monotonic() - self._began_seconds
        late = 0 < self.policy.round_seconds <= seconds
        if late and self._news():
            return True
        return (late or idle()) and self.group.begun(_label(self.standing.closed + 1))

    def close(self, *, ended: bool = False) -> bool:
        """As `Rounds.close`."""
        standing, events = self.standing, self.intake.engine.progress.events
        self.intake.ledger.standing = standing._replace(
            closed=standing.closed + 1,
            weight=events - standing.events,
            records=self.intake.ledger.tally.records,
            events=events,
        )
        self.commits.now()
        try:
            return self._unite(ended=ended)
        except _ToldToStop:
            return False

    def _agree(self) -> None:
        """Go to the newest round that all ranks have."""
        arrival = Arrival(self.standing, self.settings, self.intake.engine.progress.events)
        found = arrivals(self.group.gather("begin", pack_word(arrival), self._wait))
        check_settings(found)
        root = leader(found)
        if root is not None:
            self._catch_up(root, found[root].standing.united)

    def _news(self) -> int:
        """Records that entered the state in this round."""
        return self.intake.ledger.tally.records - self.standing.records

    def _unite(self, *, ended: bool) -> bool:
        """Steps 2 and 3; whether all have ended."""
        began, standing, state = self.clock.monotonic(), self.standing, self.intake.engine.state
        report = Report(standing.events, standing.weight, self.lag(), self._distance, ended, counts_of(state))
        found = reports(self.group.gather(_label(standing.closed), pack_word(report), self._wait))
        met = self.clock.monotonic()
        share = self._shares(found)[self.group.rank]
        handed = self._average(state, found, share)
        self.intake.ledger.standing = standing._replace(united=standing.closed)
        self._began_seconds = self.clock.monotonic()
        self.intake.telling.tell(
            United(
                round=standing.closed,
                rank=self.group.rank,
                weight=share,
                distance=self._distance,
                waited_seconds=met - began,
                seconds=self._began_seconds - met,
                bytes=handed,
                ranks=[RankView(*report[:5]) for report in found],
            )
        )
        return all(report.ended for report in found)

    def _shares(self, found: list[Report]) -> list[float]:
        uniform = self.policy.weights == "uniform"
        return shares([int(report.weight > 0) if uniform else report.weight for report in found])

    def _average(self, state: State, found: list[Report], share: float) -> int:
        """Go on from the mean, if anything was learned and there is somebody else; bytes handed over."""
        if self.group.world == 1 or not any(report.weight for report in found):
            self._distance = 0.0
            return 0
        numbers = numbers_of(state)
        counts = largest([report.counts for report in found])
        mean = mean_state(state, self.group.mean(numbers, share, self._wait), counts)
        self._distance = torch.linalg.vector_norm(state.params - mean.params).item()
        self._go_on_from(mean)
        self.kept = self.commits.united = pack_state(mean)
        return numbers.numel() * numbers.element_size()

    def _catch_up(self, root: int, round_: int) -> None:
        """Take the mean of a round from a rank that has it, where this one has closed it alone."""
        kept = self.group.spread(self.kept, root, self._wait)
        if self.standing.united < round_:
            if kept:  # else nobody had learned anything yet
                self._go_on_from(unpack_state(kept))
                self.kept = self.commits.united = kept
            self.intake.ledger.standing = self.standing._replace(united=round_)

    def _go_on_from(self, mean: State) -> None:
        engine = self.intake.engine
        own = engine.state
        engine.adopt(self.merge(own, mean))

    def _wait(self, missing: Sequence[int]) -> None:
        """A slice of a wait has passed."""
        if self.stopped():
            raise _ToldToStop
        if self.clock.monotonic() - self._told_seconds >= 1.0:
            self._told_seconds = self.clock.monotonic()
            self.turned()
            self.intake.telling.tell(Awaiting(self.standing.closed, missing))


def _label(number: int) -> str:
    return f"round/{number}"


def uniting(
    config: Config,
    blueprint: Blueprint,
    group: Group,
    share: Share,
    source: Source,
    store: Store,
    controls: Controls,
) -> RoundsOf:
    """What unites a loop with those of the other ranks.

    Raises:
        ConfigError: states of this algorithm cannot unite.
    """
    merge, policy = blueprint.learner.merge, config.distributed
    if isinstance(merge, str):
        if group.world > 1:
            raise ConfigError(
                f"algorithm.name = {config.algorithm.name!r}: several ranks cannot learn by it, for {merge}; "
                "take another algorithm, or a single process"
            )
        merge = to_mean
    settings = f"{config_hash(config)} {policy.round_events} {policy.weights}"

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
        kept=store.united(),
    )
