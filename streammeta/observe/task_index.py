"""The tasks as a page lists them: the last visits of each, in bounded memory, sorted when somebody asks.

The loop gathers visits and writes them into arrays once a second, other threads copy those: a row may show a
field of the visit before.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streammeta.evaluation.drift import BEGUN
from streammeta.observe.track import Numbers
from streammeta.outcomes import Checkpointed, Learned, Outcome, TaskChanged
from streammeta.state.quarantine import Held
from streammeta.state.store import TaskStats

CAPACITY: Final = 50_000
VISITS: Final = 16
"""Last visits of a task whose losses are kept."""
FOLD_SECONDS: Final = 1.0
MOST_PENDING: Final = 5000

_EVENTS, _LAST_EVENT, _LAST_SEEN, _LOSS = range(4)
_AT, _META, _ADAPTED, _MEMORY = range(4)
_DETECTIONS, _DRIFT_EVENT = range(2)
_NO_DRIFT: Final = (0.0, 0.0, math.nan, math.nan)

_SORTS: Final = {
    "loss": (_LOSS, 1),
    "events": (_EVENTS, 1),
    "seen": (_LAST_SEEN, 1),
    "staleness": (_LAST_EVENT, -1),
    "drift": (_LOSS + 1 + _DRIFT_EVENT, 1),
}
"""Column of numbers and drifts side by side, and its sign."""


class TaskRow(NamedTuple):
    """A task as a page shows it; numbers that are not known are None.

    Attributes:
        task: Its id.
        events, staleness_events: Events learned from; events of others since the last one.
        last_seen_seconds: Event time of the last one, Unix time.
        loss: Fading mean.
        recent: Losses at its last visits: at its memory where it has one, else adapted.
        drifts: How often its losses got worse.
        drift_event: Index of the event that last told, None for never.
        loss_before, loss_after: The level of its losses before that, and of the few that told.
        quarantined_event: The event that it is held back since, None where it is not.
        quarantined_norm: What that event would have made of the norm of its parameters.
    """

    task: str
    events: int
    staleness_events: int
    last_seen_seconds: float
    loss: float | None
    recent: list[float | None]
    drifts: int = 0
    drift_event: int | None = None
    loss_before: float | None = None
    loss_after: float | None = None
    quarantined_event: int | None = None
    quarantined_norm: float | None = None


class Visits(NamedTuple):
    """The last visits of one task, oldest first: event index, and the losses before each was learned from."""

    at: list[int]
    meta: list[float | None]
    adapted: list[float | None]
    memory: list[float | None]


class TaskIndex:
    """Observer: one row a task, up to `capacity` of them; then the one seen longest ago gives its place.

    Args:
        now: Unix time in seconds.
        capacity: 700 bytes each.
    """

    def __init__(self, now: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._now = now
        self._capacity = capacity
        self._places: dict[str, int] = {}
        self._counts: list[int] = []
        self._free: list[int] = []
        self._pending: list[tuple[float, ...]] = []
        self._numbers: Numbers = np.zeros((64, 4))
        self._visits: Numbers = np.full((64, VISITS, 4), np.nan)
        self._drifts: Numbers = np.tile(_NO_DRIFT, (64, 1))
        self._events = 0
        self._held: Mapping[str, Held] = {}
        self._folded_at = now()

    def __len__(self) -> int:
        """How many tasks it knows."""
        return len(self._places)

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome; 2 µs."""
        now = self._now()
        if isinstance(outcome, Learned):
            self._visited(outcome, now)
        elif isinstance(outcome, TaskChanged) and outcome.change == "forget":
            self._forget(outcome.task)
        elif isinstance(outcome, Checkpointed):
            self._hold(outcome.quarantined)
        if not 0 <= now - self._folded_at < FOLD_SECONDS or len(self._pending) >= MOST_PENDING:
            self.settle()

    def begin(
        self, events: int, stored: Iterable[tuple[str, TaskStats]], held: Mapping[str, Held] | None = None
    ) -> None:
        """What the state brings along: its tasks, up to the capacity, without visits; who is held back."""
        self._events = events
        places, numbers, drifts = list[int](), list[tuple[float, ...]](), dict[int, tuple[float, ...]]()
        for task, stats in stored:
            if len(self._places) == self._capacity:
                break
            place, drift = self._place(task), stats.drift
            places.append(place)
            numbers.append((stats.events, stats.last_event, stats.last_seen_ms / 1000, stats.loss))
            if drift is not BEGUN:
                drifts[place] = drift.detections, drift.last_event, drift.loss_before, drift.loss_after
        if places:
            self._numbers[places] = numbers
        if drifts:
            self._drifts[[*drifts]] = [*drifts.values()]
        if held is not None:
            self._hold(held)

    def settle(self) -> None:
        """Write what was gathered since the last time."""
        pending, self._pending, self._folded_at = self._pending, [], self._now()
        if pending:
            rows = np.array(pending)
            places, counts = rows[:, 0].astype(np.int64), rows[:, 5].astype(np.int64)
            self._numbers[places] = rows[:, 1:5]  # of a task's visits in here the last one stays
            self._visits[places, (counts - 1) % VISITS] = rows[:, [_LAST_EVENT + 1, 6, 7, 8]]
            self._events = int(rows[-1, _LAST_EVENT + 1])

    def top(
        self, sort: str, limit: int, search: str = "", *, ascending: bool = False
    ) -> tuple[int, list[TaskRow]]:
        """How many tasks match, and the first of them: worst loss, most events, last seen, stalest first.

        `ascending` is the other way round, names from a to z; what is not known comes last. By "drift" only
        those that got worse, by "quarantine" those held back, the last first.

        Milliseconds at full capacity; callable from any thread.
        """
        places, held = self._places.copy(), self._held
        wanted = search.casefold()
        names = [name for name in places if wanted in name.casefold()] if wanted else [*places]
        if sort == "quarantine":
            names = [name for name in names if name in held]
            names.sort(key=lambda name: held[name].event, reverse=not ascending)
        elif sort == "task":
            names.sort(reverse=not ascending)
        found = np.fromiter((places[name] for name in names), np.int64, len(names))
        if sort == "drift":
            worse = self._drifts[found, _DETECTIONS] > 0
            names, found = [name for name, one in zip(names, worse, strict=True) if one], found[worse]
        numbers = np.concatenate([self._numbers[found], self._drifts[found]], axis=1)
        ranked = _ranked(numbers, sort, ascending) if sort in _SORTS else np.arange(len(names))
        first = ranked[:limit]
        visits = self._visits[found[first]]
        rows = zip((names[place] for place in first), numbers[first], visits, strict=True)
        return len(names), [self._shown(*row) for row in rows]

    def get(self, task: str) -> tuple[TaskRow, Visits] | None:
        """One task and its last visits; None when it is not known here."""
        place = self._places.get(task)
        if place is None:
            return None
        numbers = np.concatenate([self._numbers[place], self._drifts[place]])
        visits = self._visits[place].copy()
        ordered = _ordered(visits)
        losses = ([_known(loss) for loss in ordered[:, phase]] for phase in (_META, _ADAPTED, _MEMORY))
        return self._shown(task, numbers, visits), Visits([int(at) for at in ordered[:, _AT]], *losses)

    def _visited(self, outcome: Learned, now: float) -> None:
        seen, losses = (now - outcome.ages_seconds).tolist(), outcome.task_losses.tolist()
        numbers_of = zip(outcome.task_events.tolist(), outcome.numbers, seen, losses, strict=True)
        phases = zip(*outcome.losses.T.tolist(), strict=True)
        for task, numbers, (meta, adapted, memory) in zip(outcome.tasks, numbers_of, phases, strict=True):
            place = self._place(task)
            self._counts[place] += 1
            self._pending.append((place, *numbers, self._counts[place], meta, adapted, memory))
        for one in outcome.drifts:
            drifted = self._places.get(one.task)
            if drifted is not None:
                times = self._drifts[drifted, _DETECTIONS] + 1
                self._drifts[drifted] = times, one.event, one.before, one.after

    def _hold(self, held: Mapping[str, Held]) -> None:
        """Who is held back from now on; a task that was never learned from has a row for as long as it is."""
        before, self._held = self._held, held
        for task in before.keys() - held.keys():
            if (place := self._places.get(task)) is not None and not self._numbers[place, _EVENTS]:
                self._forget(task)
        for task in held.keys() - self._places.keys():
            place = self._place(task)
            self._numbers[place, [_LAST_EVENT, _LAST_SEEN]] = held[task].event, math.nan

    def held(self, task: str) -> Held | None:
        """Since when the task is held back; None where it is not."""
        return self._held.get(task)

    def _forget(self, task: str) -> None:
        """Give the task's row to another one."""
        self.settle()
        place = self._places.pop(task, None)
        if place is not None:
            self._clear(place)
            self._free.append(place)

    def _clear(self, place: int) -> None:
        self._counts[place] = 0
        self._visits[place] = np.nan

    def _place(self, task: str) -> int:
        """Where the task's row is; the dictionary is ordered by last visit."""
        place = self._places.pop(task, None)
        if place is None:
            place = self._vacant()
        self._places[task] = place
        return place

    def _vacant(self) -> int:
        """A row without a task, which may be that of the task seen longest ago."""
        place = len(self._places)
        if place >= self._capacity:
            self.settle()
            place = self._places.pop(next(iter(self._places)))
            self._clear(place)
        elif self._free:
            place = self._free.pop()
        else:
            self._counts.append(0)
        if place == len(self._numbers):
            self._visits = np.concatenate([self._visits, np.full_like(self._visits, np.nan)])
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)])
            self._drifts = np.concatenate([self._drifts, np.zeros_like(self._drifts)])
        self._numbers[place], self._drifts[place] = (0, 0, 0, math.nan), _NO_DRIFT
        return place

    def _shown(self, task: str, numbers: Numbers, visits: Numbers) -> TaskRow:
        ordered = _ordered(visits)
        recent = np.where(np.isnan(ordered[:, _MEMORY]), ordered[:, _ADAPTED], ordered[:, _MEMORY])
        return TaskRow(
            task=task,
            events=int(numbers[_EVENTS]),
            staleness_events=max(0, self._events - int(numbers[_LAST_EVENT])),
            last_seen_seconds=float(numbers[_LAST_SEEN]),
            loss=_known(numbers[_LOSS]),
            recent=[_known(loss) for loss in recent],
            **drift_fields(*numbers[_LOSS + 1 :].tolist()),
            **held_fields(self._held.get(task)),
        )


def _ranked(numbers: Numbers, sort: str, ascending: bool) -> NDArray[np.int64]:
    """The places of the rows in that order; an infinite loss is the worst, an unknown one comes last."""
    column, sign = _SORTS[sort]
    key = np.nan_to_num(
        (sign if ascending else -sign) * numbers[:, column], nan=np.inf, posinf=np.finfo(float).max
    )
    return np.argsort(key, kind="stable")


def drift_fields(detections: float, event: float, before: float, after: float) -> dict[str, Any]:
    """What a `TaskRow` says of drift."""
    return {
        "drifts": int(detections),
        "drift_event": int(event) if detections else None,
        "loss_before": _known(before),
        "loss_after": _known(after),
    }


def held_fields(held: Held | None) -> dict[str, Any]:
    """What a `TaskRow` says of quarantine."""
    if held is None:
        return {}
    return {"quarantined_event": held.event, "quarantined_norm": _known(held.norm)}


def _ordered(visits: Numbers) -> Numbers:
    """Those that were made, oldest first."""
    made = visits[~np.isnan(visits[:, _AT])]
    return made[np.argsort(made[:, _AT], kind="stable")]


def _known(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
