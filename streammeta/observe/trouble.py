"""What is wrong, in words, and what to do: the banner of the page. Pure: status and history in, findings out.

A check says nothing while it cannot know: each needs some rows of history first.
"""

from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple

import numpy as np

from streammeta.errors import Reason
from streammeta.observe.history import DEAD, DROPPED, View
from streammeta.observe.status import Snapshot
from streammeta.observe.track import Numbers
from streammeta.observe.worsening import WORSE_EVENTS, WORSE_FACTOR, worsening

STALLED_SECONDS: Final = 30.0
GROWING_SECONDS: Final = 60.0
RISING_SECONDS: Final = 30.0
SHOWN_SECONDS: Final = 300.0
"""How long dead letters, dropped examples and numbers that are not finite stay in the banner."""
RISING_FACTOR: Final = 2.0
RISING_SHARE: Final = 0.05
"""A loss below this share of its first value is small, whatever its best was."""
RISING_EVENTS: Final = 1000
STALE_SECONDS: Final = 60.0
STALE_PERIODS: Final = 10.0
_START_SECONDS: Final = 10.0
_DEAD_LETTERS: Final = tuple(f"{DEAD}{reason}" for reason in Reason)


class Trouble(NamedTuple):
    """One finding.

    Attributes:
        code: no_broker, stalled, lag_growing, loss_rising, adaptation_worse, non_finite, checkpoint_stale,
            dead_letters or unmatched.
        level: Whether learning has stopped or is at risk (error), or somebody should look (warning).
        text: What is so.
        remedy: What to do.
    """

    code: str
    level: Literal["error", "warning"]
    text: str
    remedy: str


class Case(NamedTuple):
    """What is judged.

    Attributes:
        status: The daemon now.
        history: What it folded.
        now: Unix time.
        checkpoint_seconds: The setting.
    """

    status: Snapshot
    history: View
    now: float
    checkpoint_seconds: float

    def last(self, seconds: float) -> dict[str, Numbers]:
        """The columns of the rows of the last seconds; empty when the rows do not reach that far back."""
        curve = self.history.time
        rows = curve.recent
        at = rows[:, curve.columns.index("seconds")]
        inside = rows[at > self.now - seconds]
        reaches = len(at) and at[0] <= self.now - 0.9 * seconds
        return dict(zip(curve.columns, (inside if reaches else rows[:0]).T, strict=True))


def diagnose(case: Case) -> list[Trouble]:
    """All that is wrong, the gravest first; nothing once the daemon has stopped."""
    if case.status["state"] == "stopped":
        return []
    found = [trouble for check in _CHECKS for trouble in check(case)]
    return sorted(found, key=lambda trouble: trouble.level != "error")


def _no_broker(case: Case) -> Iterator[Trouble]:
    status = case.status
    remedy = (
        "The daemon keeps trying and nothing is lost. See that the broker runs and that "
        "kafka.bootstrap_servers reaches it from this machine; the log names the cause."
    )
    if status["state"] == "disconnected":
        away = _trailing_seconds(case, "connected", 0.0)
        since = f" for {_span(away)}" if away >= 1 else ""
        yield Trouble("no_broker", "error", f"No broker has answered{since}", remedy)
    elif status["state"] == "starting" and status["uptime_seconds"] > _START_SECONDS:
        waited = _span(status["uptime_seconds"])
        yield Trouble("no_broker", "error", f"The broker was not reached yet, after {waited}", remedy)


def _stalled(case: Case) -> Iterator[Trouble]:
    rows = case.history.time.recent
    if len(rows):
        silent = case.now - rows[-1, case.history.time.columns.index("seconds")]
        if silent > STALLED_SECONDS:
            yield Trouble(
                "stalled",
                "error",
                f"The learner has given no sign for {_span(silent)}",
                "One event may take very long, or the disk hangs. Look at the log; /livez fails after 60 s, "
                "so that an orchestrator restarts the daemon. It continues where it was.",
            )
            return
    last = case.last(STALLED_SECONDS)
    waiting = len(last["lag"]) and np.isfinite(last["lag"]).all() and last["lag"].min() > 0
    if case.status["state"] == "learning" and waiting and not _handled(last):
        yield Trouble(
            "stalled",
            "error",
            f"Records wait, and none was handled for {_span(STALLED_SECONDS)}",
            "An open transaction of a producer can hold the topic back, or reading is blocked: look at "
            "the log and at the partitions' leaders.",
        )


def _lag_growing(case: Case) -> Iterator[Trouble]:
    last = case.last(GROWING_SECONDS)
    lag = last["lag"][np.isfinite(last["lag"])]
    if len(lag) < GROWING_SECONDS / 2 or case.status["restoring"]:
        return
    early, middle, late = (part.mean() for part in np.array_split(lag, 3))
    per_second = _handled(last) / max(last["covered_seconds"].sum(), 1.0)
    if early < middle < late and late - early > max(10.0, 2 * per_second) and late > 1.1 * early:
        more = (late - early) / (GROWING_SECONDS * 2 / 3)
        yield Trouble(
            "lag_growing",
            "warning",
            f"The topic grows faster than it is learned: {_count(lag[-1])} records behind, "
            f"{_count(more)} more each second",
            'Slow the producers, or make an event cheaper: algorithm.order = "first", fewer examples in an '
            "event, a smaller model, a faster core. events.batch trades order for speed.",
        )


def _loss_rising(case: Case) -> Iterator[Trouble]:
    events = case.history.events
    if case.status["events"] < RISING_EVENTS or not len(events.buckets):
        return
    curve = events.buckets[:, events.columns.index("fading_adapted")]
    curve = curve[np.isfinite(curve)]
    recent = case.last(RISING_SECONDS)["fading_adapted"]
    recent = recent[np.isfinite(recent)]
    if len(curve) < 10 or len(recent) < 5:
        return
    now, best, first = (
        float(np.median(recent)),
        float(curve.min()),
        float(curve[: len(curve) // 10 + 1].max()),
    )
    if now > RISING_FACTOR * best and now - best > RISING_SHARE * first:
        yield Trouble(
            "loss_rising",
            "warning",
            f"The loss after adaptation is {now / best:.1f} times its best ({now:.3g}, once {best:.3g})",
            "The stream may have changed: then it falls again by itself. Else the steps are too large: lower "
            "outer.lr or algorithm.inner_lr in the file and send SIGHUP, or set outer.clip_norm.",
        )


def _adaptation_worse(case: Case) -> Iterator[Trouble]:
    worse, events = worsening(case.history.events, case.now - SHOWN_SECONDS)
    if worse >= WORSE_EVENTS:
        yield Trouble(
            "adaptation_worse",
            "warning",
            f"Adaptation makes the loss worse: more than {WORSE_FACTOR:.0f} times that before in {worse} of "
            f"the last {events} events",
            "The inner step is too long: lower algorithm.inner_lr in the file and send SIGHUP, or set "
            "algorithm.inner_clip_norm.",
        )


def _non_finite(case: Case) -> Iterator[Trouble]:
    updates = _lately(case, f"{DEAD}{Reason.NON_FINITE_UPDATE}")
    if updates:
        yield Trouble(
            "non_finite",
            "error",
            f"{_events(updates)} would have made the state NaN or infinite in the last 5 minutes, and "
            f"{'was' if updates == 1 else 'were'} set aside",
            "The state is sound: it stays as it was before such an event. Lower the learning rates, set "
            "outer.clip_norm or algorithm.inner_clip_norm, or look at the events in the dead-letter topic.",
        )
    inputs = _lately(case, f"{DEAD}{Reason.NON_FINITE_INPUT}")
    if inputs:
        yield Trouble(
            "non_finite",
            "warning",
            f"{_events(inputs)} with NaN, infinity or overflow came in the last 5 minutes",
            "They are in the dead-letter topic; find the producer that writes them.",
        )


def _dead_lettered(case: Case) -> Iterator[Trouble]:
    counts = {
        reason: _lately(case, f"{DEAD}{reason}")
        for reason in Reason
        if reason not in (Reason.NON_FINITE_UPDATE, Reason.NON_FINITE_INPUT)
    }
    total = sum(counts.values())
    if total:
        reason = max(counts, key=lambda each: counts[each])
        yield Trouble(
            "dead_letters",
            "warning",
            f"{_count(total)} record{'' if total == 1 else 's'} could not be used in the last 5 minutes, "
            f"mostly {reason}",
            "They are kept in the dead-letter topic, with the reason in their headers; mend the producer.",
        )


def _unmatched(case: Case) -> Iterator[Trouble]:
    halves = _lately(case, f"{DROPPED}unmatched")
    if halves:
        yield Trouble(
            "unmatched",
            "warning",
            f"{_count(halves)} {'input or label was' if halves == 1 else 'inputs or labels were'} dropped in "
            "the last 5 minutes: the other half did not come in time",
            "See that x and its y carry the same id, and that the producer of either is not behind; labels "
            "that come later than that need a larger events.label_wait_events.",
        )


def _checkpoint_stale(case: Case) -> Iterator[Trouble]:
    saved = case.status["checkpoint"]
    limit = max(STALE_SECONDS, STALE_PERIODS * case.checkpoint_seconds)
    if saved is None or saved["age_seconds"] <= limit:
        return
    curve = case.history.time
    since = curve.recent[:, curve.columns.index("seconds")] > case.now - saved["age_seconds"] + 2.0
    if sum(curve.recent[since, curve.columns.index(name)].sum() for name in ("learned", "skipped")):
        yield Trouble(
            "checkpoint_stale",
            "error",
            f"The last checkpoint is {_span(saved['age_seconds'])} old, and events were handled since",
            "A checkpoint waits until dead letters are acknowledged: see that their topic can be written to. "
            "Else the disk of state.dir is slow or full.",
        )


_CHECKS: Final[tuple[Callable[[Case], Iterator[Trouble]], ...]] = (
    _no_broker,
    _stalled,
    _checkpoint_stale,
    _non_finite,
    _adaptation_worse,
    _loss_rising,
    _lag_growing,
    _dead_lettered,
    _unmatched,
)


def _handled(rows: dict[str, Numbers]) -> float:
    """Records, whatever became of them."""
    return float(sum(rows[name].sum() for name in ("learned", "skipped", "duplicates", *_DEAD_LETTERS)))


def _lately(case: Case, name: str) -> int:
    """How many there were in the last minutes."""
    curve = case.history.time
    shown = curve.recent[:, curve.columns.index("seconds")] > case.now - SHOWN_SECONDS
    return int(curve.recent[shown, curve.columns.index(name)].sum())


def _trailing_seconds(case: Case, name: str, value: float) -> float:
    """How long the last rows have had this value."""
    curve = case.history.time
    column, at = (curve.recent[:, curve.columns.index(each)] for each in (name, "seconds"))
    others = at[column != value]
    if len(others):
        return float(case.now - others[-1])
    return float(case.now - at[0]) if len(at) else 0.0


def _events(count: int) -> str:
    return f"{_count(count)} event{'' if count == 1 else 's'}"


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"


def _span(seconds: float) -> str:
    """A duration for people.

    >>> _span(42), _span(125), _span(7300)
    ('42 s', '2 min', '2 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.0f} h"
