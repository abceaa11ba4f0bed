"""The state of the daemon in one JSON value: what the API returns, and the page and the terminal show.

Folded by the loop, read by other threads. Every field is replaced whole and never changed in place, so a
reader takes no lock and the loop never waits. Numbers that are not known, or not finite, are None.
"""

import math
from collections.abc import Callable, Sequence

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Fading, Prequential
from streammeta.learner.folding import Numbers
from streammeta.observe.beginning import FIRST_EVENTS, First
from streammeta.observe.catalogue import DROPPED, OUTCOMES, PHASES
from streammeta.observe.ranks import group_of
from streammeta.observe.rates import as_configured
from streammeta.observe.serving import broker_of, engine_of, lag_of
from streammeta.observe.snapshot import Checkpoint, Snapshot
from streammeta.outcomes import (
    Awaiting,
    Checkpointed,
    Duplicate,
    Executing,
    Expired,
    Learned,
    Outcome,
    Refused,
    Skipped,
    Turned,
    United,
)

RATE_SECONDS = 10.0
_MARK_SECONDS = 0.5


class Status:
    """Observer: keeps what a person wants to know now. Costs some microseconds per outcome.

    Args:
        topic, algorithm, version, torch_version: Shown as they are.
        clock: Monotonic seconds.
        started_at_seconds: Unix time of the start.
    """

    def __init__(
        self,
        *,
        topic: str,
        algorithm: str,
        version: str,
        torch_version: str,
        clock: Callable[[], float],
        started_at_seconds: float,
    ) -> None:
        self._names = (version, torch_version, algorithm, topic)
        self._clock = clock
        self._started_at_seconds = started_at_seconds
        self._begun_events = 0
        self._begun_losses = Prequential()
        self._begun_rates: tuple[float, float] | None = None
        self._stopped = False
        self._started = clock()
        self._marks: tuple[tuple[float, int], ...] = ((self._started, 0),)
        self._outcomes = dict.fromkeys(OUTCOMES, 0)
        self._dead_letters: dict[str, int] = dict.fromkeys(map(str, Reason), 0)
        self._dropped = dict.fromkeys(DROPPED, 0)
        self._first = (Fading(), Fading(), Fading())
        self._learned: Learned | None = None
        self._turned: Turned | None = None
        self._saved: tuple[float, Checkpointed] | None = None
        self._executing: Executing | None = None
        self._awaiting: Awaiting | None = None
        self._united: United | None = None

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        match outcome:
            case Learned():
                self._fold_learned(outcome)
            case Turned():
                self._turned = outcome
            case Refused():
                self._outcomes["dead_letter"] += 1
                self._dead_letters[outcome.reason] += 1
            case Duplicate():
                self._outcomes["duplicate"] += 1
            case Skipped():
                self._outcomes["skipped"] += 1
            case Expired():
                self._dropped["expired"] += outcome.tasks
                self._dropped["unmatched"] += outcome.halves
            case Executing():
                self._executing = outcome
            case Checkpointed():
                self._saved = (self._clock(), outcome)
            case Awaiting():
                self._awaiting = outcome
            case United():
                self._united, self._awaiting = outcome, None

    def begin(
        self,
        events: int,
        inner_lr: float,
        meta_lr: float,
        prequential: Prequential | None = None,
        first: First | None = None,
    ) -> None:
        """What the state brings along: shown until the first event of this process tells more."""
        self._begun_losses = prequential or Prequential()
        self._begun_events = events
        if first is not None:
            meta, adapted, memory = (
                Fading(mean * first.events, first.events) if math.isfinite(mean) else Fading()
                for mean in first[1:]
            )
            self._first = (meta, adapted, memory)
        self._begun_rates = (inner_lr, meta_lr)

    def stop(self) -> None:
        """The loop has ended: what was told last is what stays."""
        self._stopped = True

    @property
    def stopped(self) -> bool:
        """Whether the loop has ended."""
        return self._stopped

    def snapshot(self) -> Snapshot:
        """All of it, now; callable from any thread."""
        now, learned, turned = self._clock(), self._learned, self._turned
        version, torch_version, algorithm, topic = self._names
        losses = learned.prequential if learned else self._begun_losses
        means = (losses.meta.mean, losses.adapted.mean, losses.memory.mean)
        return {
            "version": version,
            "torch": torch_version,
            "algorithm": algorithm,
            "topic": topic,
            "started_at_seconds": self._started_at_seconds,
            "uptime_seconds": now - self._started,
            "state": "stopped" if self._stopped else _state(turned),
            "connected": turned is not None and turned.connected,
            "restoring": turned is not None and turned.restoring,
            "events": learned.events if learned else self._begun_events,
            "events_per_second": self._rate(now),
            "outcomes": dict(self._outcomes),
            "dead_letters": dict(self._dead_letters),
            "examples_dropped": dict(self._dropped),
            "losses": {
                phase: {"first": _known(first.mean), "now": _known(mean), "window": _known(window.mean)}
                for phase, first, mean, window in zip(
                    PHASES, self._first, means, losses.windows[:3], strict=True
                )
            },
            "accuracies": {
                phase: {"now": _known(mean.mean), "window": _known(window.mean)}
                for phase, mean, window in zip(PHASES, losses.accuracies, losses.windows[3:], strict=True)
            },
            "forgetting": {
                "loss_earlier": _known(losses.loss_earlier.mean),
                "rise": _known(losses.forgetting.mean),
            },
            "adaptation_gain": _known(means[0] - means[1]),
            "gradient_norm": _last(learned.gradient_norms) if learned else None,
            "update_norm": _last(learned.update_norms) if learned else None,
            "tracking_error": _known(learned.prequential.tracking_error.mean) if learned else None,
            "learning_rates": self._rates(learned),
            "lag": lag_of(turned),
            "broker": broker_of(turned),
            "engine": engine_of(self._executing),
            "group": group_of(self._united, self._awaiting),
            "tasks": self._tasks(),
            "checkpoint": self._checkpoint(now),
            "replayed": turned.replayed if turned is not None else None,
        }

    def _fold_learned(self, outcome: Learned) -> None:
        self._learned = outcome
        self._outcomes["learned"] += len(outcome)
        if any(first.weight < FIRST_EVENTS for first in self._first):
            meta, adapted, memory = map(_fold_first, self._first, outcome.losses.T.tolist())
            self._first = (meta, adapted, memory)
        now = self._clock()
        if now - self._marks[-1][0] >= _MARK_SECONDS:
            kept = _recent(self._marks, now)
            self._marks = (*kept, (now, self._outcomes["learned"]))

    def _rate(self, now: float) -> float:
        then, count = _recent(self._marks, now)[0]
        # After a pause the last mark lies far back, and nothing was learned between it and the window.
        seconds = min(now - then, RATE_SECONDS + _MARK_SECONDS)
        return (self._outcomes["learned"] - count) / seconds if seconds > 0 else 0.0

    def written(self, saved: Checkpointed, age_seconds: float) -> None:
        """Another process wrote a commit so long ago."""
        self._saved = (self._clock() - age_seconds, saved)

    def _rates(self, learned: Learned | None) -> dict[str, float | None]:
        rates = (learned.inner_lr, learned.meta_lrs[-1]) if learned else self._begun_rates
        if rates is None:
            return {"inner": None, "meta": None}
        inner, meta = (_known(as_configured(float(rate))) for rate in rates)
        return {"inner": inner, "meta": meta}

    def _tasks(self) -> dict[str, int] | None:
        if self._saved is None:
            return None
        _, saved = self._saved
        return {
            "cached": saved.tasks_cached,
            "stored": saved.tasks_stored,
            "quarantined": len(saved.quarantined),
        }

    def _checkpoint(self, now: float) -> Checkpoint | None:
        if self._saved is None:
            return None
        at, saved = self._saved
        return {
            "ok": saved.ok,
            "timestamp_seconds": saved.timestamp_seconds,
            "age_seconds": now - at,
            "duration_seconds": saved.seconds,
            "bytes": saved.bytes,
        }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _last(values: Numbers) -> float | None:
    return _known(float(values[-1]))


def _fold_first(first: Fading, losses: Sequence[float]) -> Fading:
    """A plain mean that stops growing after the first events."""
    for loss in losses:
        if first.weight >= FIRST_EVENTS:
            break
        first = first.fold(loss, 1.0)
    return first


def _recent(marks: tuple[tuple[float, int], ...], now: float) -> tuple[tuple[float, int], ...]:
    """The marks of the rate's window, and the last one before it: never none."""
    inside = sum(1 for at, _ in marks if now - at < RATE_SECONDS)
    return marks[-(inside + 1) :]


def _state(turned: Turned | None) -> str:
    if turned is None:
        return "starting"
    if not turned.connected:
        return "refused" if turned.condition.service == "refused" else "disconnected"
    return "restoring" if turned.restoring else "learning"
