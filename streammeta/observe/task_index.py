"""The tasks as a page lists them: the last visits of each, in bounded memory, sorted when somebody asks.

The loop writes numbers into arrays, other threads copy them: a row may show a field of the visit before.
"""

import math
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np

from streammeta.outcomes import Learned, Outcome
from streammeta.store.base import TaskStats

CAPACITY: Final = 50_000
VISITS: Final = 16
"""Last visits of a task whose losses are kept."""

_ROW: Final = np.dtype(
    [
        ("events", "i8"),
        ("last_event", "i8"),
        ("last_seen_seconds", "f8"),
        ("loss", "f8"),
        ("visits", "i8"),
        ("at", "i8", (VISITS,)),
        ("meta", "f4", (VISITS,)),
        ("adapted", "f4", (VISITS,)),
        ("memory", "f4", (VISITS,)),
    ]
)


class TaskRow(NamedTuple):
    """A task as a page shows it; numbers that are not known are None.

    Attributes:
        task: Its id.
        events, staleness_events: Events learned from; events of others since the last one.
        last_seen_seconds: Event time of the last one, Unix time.
        loss: Fading mean.
        recent: Losses at its last visits: at its memory where it has one, else adapted.
    """

    task: str
    events: int
    staleness_events: int
    last_seen_seconds: float
    loss: float | None
    recent: list[float | None]


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
        capacity: 360 bytes each.
    """

    def __init__(self, now: Callable[[], float], capacity: int = CAPACITY) -> None:
        self._now = now
        self._capacity = capacity
        self._places: dict[str, int] = {}
        self._rows = np.zeros(64, _ROW)
        self._events = 0

    def __len__(self) -> int:
        """How many tasks it knows."""
        return len(self._places)

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome; 3 µs."""
        if not isinstance(outcome, Learned):
            return
        self._events = outcome.events
        place = self._place(outcome.task)  # which may grow the rows
        row = self._rows[place]
        visit = row["visits"] % VISITS
        row["events"], row["last_event"] = outcome.task_events, outcome.events
        row["last_seen_seconds"] = self._now() - outcome.age_seconds
        row["loss"] = outcome.task_loss
        row["at"][visit] = outcome.events
        row["meta"][visit] = outcome.loss_meta
        row["adapted"][visit] = outcome.loss_adapted
        row["memory"][visit] = outcome.loss_memory
        row["visits"] += 1

    def begin(self, events: int, stored: Iterable[tuple[str, TaskStats]]) -> None:
        """What the state brings along: its tasks, up to the capacity, without their visits."""
        self._events = events
        for task, stats in stored:
            if len(self._places) == self._capacity:
                return
            place = self._place(task)
            row = self._rows[place]
            row["events"], row["last_event"], row["loss"] = stats.events, stats.last_event, stats.loss
            row["last_seen_seconds"] = stats.last_seen_ms / 1000

    def top(self, sort: str, limit: int, search: str = "") -> tuple[int, list[TaskRow]]:
        """How many tasks match, and the first of them: worst loss, most events or stalest first.

        Milliseconds at full capacity; callable from any thread.
        """
        places = self._places.copy()
        wanted = search.casefold()
        names = [name for name in places if wanted in name.casefold()] if wanted else [*places]
        found = np.fromiter((places[name] for name in names), np.int64, len(names))
        rows = self._rows[found]
        keys = {"loss": rows["loss"], "events": rows["events"], "staleness": -rows["last_event"]}
        key = np.nan_to_num(keys[sort].astype(np.float64), nan=-np.inf, posinf=np.inf)
        first = np.argsort(-key, kind="stable")[:limit]
        return len(names), [self._shown(names[place], rows[place]) for place in first]

    def get(self, task: str) -> tuple[TaskRow, Visits] | None:
        """One task and its last visits; None when it is not known here."""
        place = self._places.get(task)
        if place is None:
            return None
        row = self._rows[place].copy()
        order = _order(int(row["visits"]))
        losses = ([_known(row[name][visit]) for visit in order] for name in ("meta", "adapted", "memory"))
        return self._shown(task, row), Visits([int(row["at"][visit]) for visit in order], *losses)

    def _place(self, task: str) -> int:
        """Where the task's row is; the dictionary is ordered by last visit."""
        place = self._places.pop(task, None)
        if place is None:
            place = len(self._places)
            if place >= self._capacity:
                place = self._places.pop(next(iter(self._places)))
            elif place == len(self._rows):
                self._rows = np.concatenate([self._rows, np.zeros(len(self._rows), _ROW)])
            self._rows[place] = np.zeros((), _ROW)
            self._rows[place]["loss"] = math.nan
        self._places[task] = place
        return place

    def _shown(self, task: str, row: np.void) -> TaskRow:
        visits = ((row["memory"][visit], row["adapted"][visit]) for visit in _order(int(row["visits"])))
        return TaskRow(
            task=task,
            events=int(row["events"]),
            staleness_events=max(0, self._events - int(row["last_event"])),
            last_seen_seconds=float(row["last_seen_seconds"]),
            loss=_known(row["loss"]),
            recent=[_known(adapted if np.isnan(memory) else memory) for memory, adapted in visits],
        )


def _order(visits: int) -> range | list[int]:
    """The places of the visits that are kept, oldest first."""
    return [visit % VISITS for visit in range(max(0, visits - VISITS), visits)]


def _known(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None
