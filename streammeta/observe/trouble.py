"""What is wrong, in words, and what to do: the banner of the page. Pure: status and history in, findings out.

A check says nothing while it cannot know: each needs some rows of history first.
"""

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np

from streammeta.errors import Reason
from streammeta.observe.broker_trouble import held_back, no_broker, served_otherwise
from streammeta.observe.finding import Case, Trouble, span
from streammeta.observe.history import DEAD, DROPPED
from streammeta.observe.track import Numbers
from streammeta.observe.worsening import WORSE_EVENTS, WORSE_FACTOR, worsening
from streammeta.wording import counted

STALLED_SECONDS: Final = 30.0
GROWING_SECONDS: Final = 30.0
RISING_SECONDS: Final = 30.0
SHOWN_SECONDS: Final = 300.0
"""How long dead letters, dropped examples and numbers that are not finite stay in the banner."""
RISING_FACTOR: Final = 2.0
RISING_SHARE: Final = 0.05
"""A loss below this share of its first value is small, whatever its best was."""
RISING_EVENTS: Final = 1000
STALE_SECONDS: Final = 60.0
STALE_PERIODS: Final = 10.0
_DEAD_LETTERS: Final = tuple(f"{DEAD}{reason}" for reason in Reason)


def diagnose(case: Case) -> list[Trouble]:
    """All that is wrong, the gravest first; nothing once the daemon has stopped."""
    if case.status["state"] == "stopped":
        return []
    found = [trouble for check in _CHECKS for trouble in check(case)]
    return sorted(found, key=lambda trouble: trouble.level != "error")


def _stalled(case: Case) -> Iterator[Trouble]:
    rows = case.history.time.recent
    if len(rows):
        silent = case.now - rows[-1, case.history.time.columns.index("seconds")]
        if silent > STALLED_SECONDS:
            yield Trouble(
                "stalled",
                "error",
                f"The learner has given no sign for {span(silent)}",
                "One event may take very long (the first of a new shape is traced), or the disk hangs. Look "
                "at the log; /livez fails after 60 s, so that an orchestrator restarts the daemon. It "
                "continues where it was.",
            )
            return
    last = case.last(STALLED_SECONDS)
    waiting = len(last["lag"]) and np.isfinite(last["lag"]).all() and last["lag"].min() > 0
    if case.status["state"] == "learning" and waiting and not _handled(last) and not held_back(case):
        yield Trouble(
            "stalled",
            "error",
            f"Records wait, and none was handled for {span(STALLED_SECONDS)}",
            "Reading is blocked: look at the log and at the partitions' leaders.",
        )


def _lag_growing(case: Case) -> Iterator[Trouble]:
    last = case.last(GROWING_SECONDS)
    lag = last["lag"][np.isfinite(last["lag"])]
    if len(lag) < GROWING_SECONDS / 2 or case.status["restoring"] or held_back(case):
        return
    early, middle, late = (part.mean() for part in np.array_split(lag, 3))
    per_second = _handled(last) / max(last["covered_seconds"].sum(), 1.0)
    if early < middle < late and late - early > max(10.0, 2 * per_second) and late > 1.1 * early:
        more = (late - early) / (GROWING_SECONDS * 2 / 3)
        yield Trouble(
            "lag_growing",
            "warning",
            f"The topic grows faster than it is learned: {counted(int(lag[-1]), 'record')} behind, "
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
        if reason not in (Reason.NON_FINITE_UPDATE, Reason.NON_FINITE_INPUT, Reason.QUARANTINED)
    }
    total = sum(counts.values())
    if total:
        reason = max(counts, key=lambda each: counts[each])
        yield Trouble(
            "dead_letters",
            "warning",
            f"{counted(total, 'record')} could not be used in the last 5 minutes, mostly {reason}",
            "They are kept in the dead-letter topic, with the reason in their headers; mend the producer.",
        )


def _quarantined(case: Case) -> Iterator[Trouble]:
    tasks = (case.status["tasks"] or {}).get("quarantined", 0)
    if tasks:
        yield Trouble(
            "quarantined",
            "warning",
            f"{_count(tasks)} task{' is' if tasks == 1 else 's are'} in quarantine: the memory outgrew "
            "events.memory_norm_limit, and the records are set aside",
            "`streammeta tasks list` marks them. Look at their dead letters, then `streammeta tasks release "
            "ID --config F`; `dlq replay --reason quarantined` brings back what was set aside.",
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
            f"The last checkpoint is {span(saved['age_seconds'])} old, and events were handled since",
            "A checkpoint waits until dead letters are acknowledged: see that their topic can be written to. "
            "Else the disk of state.dir is slow or full.",
        )


_CHECKS: Final[tuple[Callable[[Case], Iterator[Trouble]], ...]] = (
    no_broker,
    served_otherwise,
    _stalled,
    _checkpoint_stale,
    _non_finite,
    _adaptation_worse,
    _loss_rising,
    _lag_growing,
    _quarantined,
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


def _events(count: int) -> str:
    return counted(count, "event")


def _count(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.1f}"
