"""An observer that knows the truth: what is told of lag and health is held against it at every turn."""

from dataclasses import dataclass, field

from streammeta.observe.health import LIMIT_SECONDS, Health
from streammeta.outcomes import Outcome, Turned
from streammeta.runtime.loop import Loop
from streammeta.stream.kafka.silence import SILENCE_SECONDS
from streammeta.stream.kafka.watch import FRESH_SECONDS, LOOK_SECONDS
from tests.simulator.journal import Violation
from tests.simulator.world import World

SLACK_SECONDS = 1.5
"""A long poll tells once a second, and a question takes some time."""
BLIND_SECONDS = FRESH_SECONDS + SILENCE_SECONDS + SLACK_SECONDS
"""How long a broker that is away may go unnoticed."""
MENDED_SECONDS = 60.0
"""Within which a broker that serves again is found: waits of 30 s for connections, a producer made anew."""
REST_SECONDS = 2.0


@dataclass
class Watcher:
    """Stops a world that has come to rest: nothing is planned, nothing is behind, all is well."""

    world: World
    health: Health = field(init=False)
    loop: Loop | None = None
    _resting_since: float | None = None

    def __post_init__(self) -> None:
        """Health is judged by the same clock."""
        self.health = Health(lambda: self.world.clock.now)

    @property
    def rested(self) -> bool:
        """Whether the world has come to rest."""
        since = self._resting_since
        return since is not None and self.world.clock.now - since >= REST_SECONDS

    def __call__(self, outcome: Outcome) -> None:
        """Judge a turn."""
        self.health(outcome)
        if isinstance(outcome, Turned) and self.loop is not None:
            self._judge_lag(outcome, self.loop)
            self._judge_service(outcome)
            self._look_for_rest(outcome, self.loop)

    def _judge_lag(self, turned: Turned, loop: Loop) -> None:
        world, now = self.world, self.world.clock.now
        if now < world.uncertain:
            return
        taken = loop.intake.taken
        for partition, lag in turned.lag.items():
            log = world.broker.topic.logs[partition]
            least, most = log.end_between(now - FRESH_SECONDS - SLACK_SECONDS, now)
            low, high = (max(0, end - taken[partition]) for end in (least, most))
            if not low <= lag <= high:
                raise Violation(
                    f"lag of partition {partition} is told as {lag}; it was {low} to {high} lately"
                )

    def _judge_service(self, turned: Turned) -> None:
        world, now = self.world, self.world.clock.now
        silent = world.broker.silent_seconds
        if silent > BLIND_SECONDS and (turned.connected or turned.lag):
            raise Violation(f"told as served, lag {dict(turned.lag)}, {silent:.1f} s after the last answer")
        well = now - max(world.broker.upset_until, world.broker.began_at)
        if well > MENDED_SECONDS and now > world.uncertain:
            alive, why = self.health.live()
            if not turned.connected or not alive:
                raise Violation(f"{turned.condition}, {why}: the broker has served well for {well:.0f} s")
        throttled = turned.condition.service == "throttled"
        if throttled and not world.troubled("quota", within_seconds=20.0):
            raise Violation("told as throttled without a quota")

    def _look_for_rest(self, turned: Turned, loop: Loop) -> None:
        world, now = self.world, self.world.clock.now
        logs = world.broker.topic.logs
        resting = (
            now > max(world.ends_at, world.uncertain) + LOOK_SECONDS
            and turned.lag == dict.fromkeys(range(len(logs)), 0)
            and dict(loop.intake.ledger.positions) == {p: log.end for p, log in enumerate(logs)}
            and self.health.ready()[0]
            and self.health.live()[0]
        )
        if not resting:
            self._resting_since = None
        elif self._resting_since is None:
            self._resting_since = now
        if self.rested:
            world.controls.stop = True


assert LIMIT_SECONDS > MENDED_SECONDS - 1
