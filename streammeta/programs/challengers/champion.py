"""A champion's company: its feed, the keepers of its challengers, and what is shown of them."""

import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import structlog

from streammeta.config import Config
from streammeta.events import Positions
from streammeta.feed.writer import FeedWriter
from streammeta.observe.learners import Learner, LearnerMetrics
from streammeta.observe.snapshot import Snapshot
from streammeta.outcomes import Observer, Outcome, Turned
from streammeta.programs.challengers.keeping import Keeper, Patience
from streammeta.programs.challengers.plan import CHAMPION, FEED, Challenger
from streammeta.programs.challengers.report import CURVE, Request
from streammeta.programs.company import Place
from streammeta.programs.daemon import Taping
from streammeta.runtime.tape import Tape, Tapes
from streammeta.state.checkpoint import Checkpoint
from streammeta.web.shown import columns_of

BEHIND_RECORDS: Final = 1000
"""Beyond, a challenger is called behind."""
LOOK_SECONDS: Final = 0.2
WAIT_SECONDS: Final = 600.0
"""At the end of the topic, challengers of which none moves for so long are not waited for."""

log = structlog.get_logger(__name__)


class WithChallengers:
    """A `Company`: the challengers begin when the champion has its state, and end with it."""

    def __init__(
        self,
        config: Config,
        challengers: Sequence[Challenger],
        *,
        path: Path | None,
        overrides: Sequence[str],
        quiet: bool = False,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
    ) -> None:
        """Nothing is begun.

        Args:
            config: The champion's.
            challengers: What runs beside it.
            path: The champion's configuration file, to be read again by each challenger.
            overrides: Its flags.
            quiet: What the challengers log is not shown, for a terminal shows the champion.
            patience: With each of them.
        """
        self._config, self._challengers = config, challengers
        self._feed_directory = config.state.dir / FEED
        self._feed: FeedWriter | None = None
        self._place: Place | None = None
        self._behind_since: dict[str, float] = {}
        errors = subprocess.DEVNULL if quiet else None
        self._keepers = [
            Keeper(
                Request(
                    name=one.name,
                    champion=str(path) if path else None,
                    overrides=tuple(overrides),
                    path=str(one.path),
                    feed=str(self._feed_directory),
                ),
                told=self._heard,
                patience=patience,
                errors=errors,
            )
            for one in challengers
        ]

    def taping(self, inner: Taping) -> Taping:
        """The champion's own tape, and the feed."""

        @contextmanager
        def both(begun: Checkpoint) -> Iterator[Tape]:
            with (
                inner(begun) as tape,
                closing(FeedWriter(self._feed_directory, begun.positions, wake=self._wake)) as feed,
            ):
                self._feed = feed
                yield Tapes(tape, feed)

        def tapes(begun: Checkpoint) -> AbstractContextManager[Tape]:
            return both(begun)

        return tapes

    def join(self, place: Place) -> Sequence[Observer]:
        """As `Company.join`: begins them."""
        self._place = place
        place.registry.register(LearnerMetrics(self.learners))
        for keeper, challenger in zip(self._keepers, self._challengers, strict=True):
            log.info("challenger begins", challenger=challenger.name, state=str(challenger.config.state.dir))
            keeper.start()
        return (self._heed,)

    def serving(self, address: str) -> None:
        """As `Company.serving`."""

    def reloaded(self) -> None:
        """As `Company.reloaded`: each reads its own files again, the champion's beneath them."""
        for keeper in self._keepers:
            keeper.reload()

    def wait(self) -> None:
        """As `Company.wait`: until they have learned from all that the champion has."""
        if self._feed is not None:
            self._feed.flush()
        for keeper in self._keepers:
            keeper.end()
        seen: tuple[tuple[Positions, int], ...] = ()
        place, moved = self._place, time.monotonic()
        while place is not None and not place.controls.stop and any(one.running for one in self._keepers):
            place.health.beat()
            if (now := tuple((one.report.positions, one.deaths) for one in self._keepers)) != seen:
                seen, moved = now, time.monotonic()
            if time.monotonic() - moved > WAIT_SECONDS:
                log.warning("challengers not waited for: none of them moves")
                return
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        """As `Company.close`."""
        for keeper in self._keepers:
            keeper.stop()
        for keeper in self._keepers:
            keeper.join()

    def learners(self) -> list[Learner]:
        """The champion, then its challengers, as they are now."""
        place = self._place
        if place is None:
            return []
        status = place.status.snapshot()
        champion = Learner(CHAMPION, "learning", dict(status), behind=0, deaths=0)
        return [champion, *(self._learner(keeper) for keeper in self._keepers)]

    def challengers(self) -> Sequence[Mapping[str, Any]]:
        """As `Company.challengers`."""
        shown = []
        for keeper, challenger in zip(self._keepers, self._challengers, strict=True):
            learner, standing = self._learner(keeper), keeper.standing
            status = learner.status or {}
            shown.append(
                {
                    "name": challenger.name,
                    "config": str(challenger.path),
                    "state_dir": str(challenger.config.state.dir),
                    "algorithm": challenger.config.algorithm.name,
                    "state": learner.state,
                    "reason": standing.words or keeper.report.stuck,
                    "deaths": learner.deaths,
                    "behind": learner.behind,
                    "behind_seconds": self._behind_seconds(challenger.name),
                    "address": keeper.report.address if standing.phase == "running" else "",
                    "pid": standing.pid,
                    **{key: status.get(key) for key in _SHOWN},
                }
            )
        return shown

    def curves(self) -> Sequence[Mapping[str, Any]]:
        """As `Company.curves`: over the champion's events, which a challenger's are put beside."""
        place = self._place
        if place is None:
            return ()
        seen, status = place.history.view(), place.status.snapshot()
        own = columns_of(seen.events.columns, seen.events.merged())
        curves: list[dict[str, Any]] = [{"name": CHAMPION, "columns": {name: own[name] for name in CURVE}}]
        curves.extend(
            {"name": keeper.request.name, "columns": self._beside(keeper, status)}
            for keeper in self._keepers
            if keeper.curve is not None
        )
        return curves

    def _beside(self, keeper: Keeper, status: Snapshot) -> Mapping[str, Sequence[float | None]]:
        """Its curve, with the champion's number of the events that it is of: exact while it keeps up."""
        curve, report = keeper.curve or {}, keeper.report
        own = report.status["events"] if report.status else 0
        ahead = status["events"] - (self._behind(report.positions) or 0) - own
        return {**curve, "events": [event and event + ahead for event in curve.get("events", [])]}

    def _learner(self, keeper: Keeper) -> Learner:
        standing, report = keeper.standing, keeper.report
        behind = self._behind(report.positions)
        state: str = standing.phase
        if state == "running":
            state = "stuck" if report.stuck else "behind" if (behind or 0) > BEHIND_RECORDS else "learning"
        return Learner(keeper.request.name, state, report.status, behind, keeper.deaths)

    def _behind(self, positions: Positions) -> int | None:
        """Records between it and the champion; None while it has told none."""
        if self._feed is None or not positions:
            return None
        applied = dict(self._feed.applied)
        return sum(max(0, offset - positions.get(partition, 0)) for partition, offset in applied.items())

    def _heed(self, outcome: Outcome) -> None:
        if isinstance(outcome, Turned) and self._feed is not None:
            self._feed.flush()

    def _wake(self) -> None:
        for keeper in self._keepers:
            keeper.wake()

    def _behind_seconds(self, name: str) -> float:
        """How long it has been called behind; 0 while it is not."""
        since = self._behind_since.get(name)
        return 0.0 if since is None else time.monotonic() - since

    def _heard(self) -> None:
        for keeper in self._keepers:
            if self._learner(keeper).state == "behind":
                self._behind_since.setdefault(keeper.request.name, time.monotonic())
            else:
                self._behind_since.pop(keeper.request.name, None)
        self._trim()

    def _trim(self) -> None:
        """Remove what no challenger needs any more; one that was given up needs nothing."""
        needed = [
            keeper.report.segment
            for keeper in self._keepers
            if keeper.standing.phase not in ("failed", "ended")
        ]
        if self._feed is not None and needed and min(needed) >= 0:
            self._feed.trim(min(needed))


_SHOWN: Final = (
    *("events", "events_per_second", "losses", "accuracies", "adaptation_gain", "outcomes", "dead_letters"),
    *("tasks", "checkpoint", "learning_rates"),
)
