"""What the curves are drawn from: the whole life of a state in bounded memory, and its last minutes in full.

Two tracks: one over events (so that a fast beginning is not lost in a long life), one over time, a row a
second. Both are part of the state's commit, so curves go on after a restart, and exactly as the state does:
what a crash takes from one it takes from the other.

The loop folds; other threads read `view()`, one value that is replaced whole.
"""

import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from streammeta.errors import Reason
from streammeta.observe.catalogue import DROPPED as DROP_REASONS
from streammeta.observe.marks import Mark, Marks
from streammeta.observe.track import Numbers, Track
from streammeta.outcomes import (
    Checkpointed,
    Duplicate,
    Expired,
    Learned,
    Outcome,
    Refused,
    Skipped,
    Turned,
)

CAPACITY: Final = 512
"""Most buckets of a track."""
RECENT: Final = 600
"""Rows kept in full: the last events, and the last seconds."""
ROW_SECONDS: Final = 1.0

_SOURCES: Final = (
    *("events", "seconds", "loss_meta", "loss_adapted", "loss_memory"),
    *("fading_meta", "fading_adapted", "fading_memory", "gradient_norm", "update_norm"),
    *("tracking_error", "fading_tracking_error", "inner_lr", "meta_lr"),
    *("fading_accuracy_meta", "fading_accuracy_adapted", "fading_accuracy_memory"),
    *("fading_loss_earlier", "fading_forgetting"),
)
"""What is taken from an event; `fading_` are fading means, the others the event's own numbers."""

LEARNING: Final[dict[str, str]] = {
    **dict.fromkeys(("events", "seconds", "inner_lr", "meta_lr"), "last"),
    **dict.fromkeys(("fading_meta", "fading_adapted", "fading_memory", "fading_tracking_error"), "mean"),
    **{
        f"{name}{end}": how
        for name in ("loss_meta", "loss_adapted", "loss_memory")
        for end, how in (("", "mean"), ("_min", "min"), ("_max", "max"))
    },
    **dict.fromkeys(("gradient_norm", "update_norm", "tracking_error"), "mean"),
    **dict.fromkeys(("fading_accuracy_meta", "fading_accuracy_adapted", "fading_accuracy_memory"), "mean"),
    **dict.fromkeys(("fading_loss_earlier", "fading_forgetting"), "mean"),
}
"""Columns of the track over events."""

DEAD: Final = "dead_letters_"
DROPPED: Final = "dropped_"
OPERATION: Final[dict[str, str]] = {
    "learned": "sum",
    "duplicates": "sum",
    "skipped": "sum",
    "covered_seconds": "sum",
    "lag": "mean",
    "lag_max": "max",
    "checkpoint_age_seconds": "max",
    "connected": "min",
    **{f"{DEAD}{reason}": "sum" for reason in Reason},
    **{f"{DROPPED}{reason}": "sum" for reason in DROP_REASONS},
}
"""Columns that the track over time has beside those of learning."""

_COUNTED: Final = (
    *("duplicates", "skipped"),
    *(name for name in OPERATION if name.startswith((DEAD, DROPPED))),
)

_TAKEN: Final = [_SOURCES.index(name.removesuffix("_min").removesuffix("_max")) for name in LEARNING]


class Curve(NamedTuple):
    """A track as a reader sees it.

    Attributes:
        columns: Names, in the order of the numbers.
        buckets: The whole life, coarse.
        weights: Rows in each bucket.
        width: Rows in a full bucket.
        recent: The last rows, each as it was.
    """

    columns: tuple[str, ...]
    buckets: Numbers
    weights: Numbers
    width: int
    recent: Numbers

    def column(self, name: str) -> Numbers:
        """The whole curve of one name: buckets, and rows of their own where those are kept."""
        return self.merged()[:, self.columns.index(name)]

    def merged(self) -> Numbers:
        """Buckets up to where the recent rows begin, then those."""
        if not len(self.recent):
            return self.buckets
        seconds = self.columns.index("seconds")
        older = self.buckets[:, seconds] < self.recent[0, seconds]
        return np.concatenate([self.buckets[older], self.recent])


class Kept(NamedTuple):
    """A track as it is stored: `Curve` without its recent rows."""

    columns: tuple[str, ...]
    buckets: Numbers
    weights: Numbers
    width: int


class View(NamedTuple):
    """The history at one moment.

    Attributes:
        rows: Counts what changed the curves: a second folded in this process, curves resumed.
        events, time: The two tracks.
        marks: What happened at one moment.
    """

    rows: int
    events: Curve
    time: Curve
    marks: tuple[Mark, ...] = ()


class History:
    """Observer: folds outcomes into the two tracks; some 20 µs a chunk, and more once a second.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self.events = Track(dict(LEARNING), CAPACITY)
        self.time = Track({**LEARNING, **OPERATION}, CAPACITY)
        self.marks = Marks()
        self._recent_events: deque[Numbers] = deque()
        self._recent_time: deque[Numbers] = deque(maxlen=RECENT)
        self._learned: list[Numbers] = []
        self._counts = dict.fromkeys(_COUNTED, 0)
        self._turned: Turned | None = None
        self._saved_at = math.nan
        self._began = self._latest = now()
        self._rows = 0
        self._view = self._seen()

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        now = self._time()
        self.marks.fold(outcome, now)
        match outcome:
            case Learned():
                self._learned.append(_taken(outcome, now))
            case Turned():
                self._turned = outcome
            case Refused():
                self._counts[f"{DEAD}{outcome.reason}"] += 1
            case Duplicate():
                self._counts["duplicates"] += 1
            case Skipped():
                self._counts["skipped"] += 1
            case Expired():
                self._counts[f"{DROPPED}expired"] += outcome.tasks
                self._counts[f"{DROPPED}unmatched"] += outcome.halves
            case Checkpointed():
                self._saved_at = outcome.timestamp_seconds if outcome.ok else self._saved_at
        if now - self._began >= ROW_SECONDS:
            self.close_row()

    def settle(self) -> None:
        """Fold what was learned since the last full second: the history is then that of the state."""
        if self._learned or any(self._counts.values()):
            self.close_row()

    def close_row(self) -> None:
        """Fold what is pending, however short the row."""
        now = self._time()
        learned, self._learned = self._learned, []
        row = np.full((1, len(self.time.columns)), np.nan)
        row[0, :2] = self._last_events(), now
        if learned:
            rows = np.concatenate(learned)[:, _TAKEN]
            rows[~np.isfinite(rows)] = np.nan
            self.events.extend(rows)
            self._keep_recent(rows[-RECENT:])
            row[:, : len(LEARNING)] = self.events.reduce(rows)
        row[0, len(LEARNING) :] = self._operation(sum(map(len, learned)), now)
        self.time.extend(row)
        self._recent_time.append(row)
        self._began = now
        self._rows += 1
        self._view = self._seen()

    def view(self) -> View:
        """The history up to the last full second; from any thread."""
        return self._view

    def resume(self, events: Kept, time: Kept, marks: Sequence[Sequence[Any]] = ()) -> None:
        """Continue curves and marks that were kept; a column that they lack is unknown.

        Raises:
            ValueError: they are not what a history keeps.
        """
        self.events.restore(*_fitted(events, self.events))
        self.time.restore(*_fitted(time, self.time))
        self.marks.resume(marks, int(self._last_events()))
        self._rows += 1
        self._view = self._seen()

    def _time(self) -> float:
        """Unix time that never goes back, as an axis needs it."""
        self._latest = max(self._latest, self._now())
        return self._latest

    def _last_events(self) -> float:
        return float(self.time.buckets[-1, 0]) if len(self.time.buckets) else 0.0

    def _keep_recent(self, rows: Numbers) -> None:
        self._recent_events.append(rows)
        while sum(map(len, self._recent_events)) - len(self._recent_events[0]) >= RECENT:
            self._recent_events.popleft()

    def _operation(self, learned: int, now: float) -> list[float]:
        turned = self._turned
        connected = turned is not None and turned.connected
        known = turned is not None and connected and turned.lag
        lag = float(sum(turned.lag.values())) if turned is not None and known else math.nan
        counts, self._counts = self._counts, dict.fromkeys(self._counts, 0)
        values = {
            **counts,
            "learned": learned,
            "covered_seconds": now - self._began,
            "lag": lag,
            "lag_max": lag,
            "checkpoint_age_seconds": now - self._saved_at,
            "connected": float(connected) if turned is not None else math.nan,
        }
        return [values[name] for name in OPERATION]

    def _seen(self) -> View:
        recent_events = _joined(self._recent_events, len(LEARNING))[-RECENT:]
        recent_time = _joined(self._recent_time, len(self.time.columns))
        return View(
            self._rows, _curve(self.events, recent_events), _curve(self.time, recent_time), self.marks.all()
        )


def _taken(outcome: Learned, now: float) -> Numbers:
    """The numbers of `_SOURCES`, a row an event."""
    rows = np.empty((len(outcome), len(_SOURCES)))
    rows[:, 0] = outcome.numbers
    rows[:, 1] = now
    rows[:, 2:5] = outcome.losses
    rows[:, 5:8] = outcome.means[:, :3]
    rows[:, 8] = outcome.gradient_norms
    rows[:, 9] = outcome.update_norms
    rows[:, 10] = outcome.tracking_errors
    rows[:, 11] = outcome.means[:, 3]
    rows[:, 12] = outcome.inner_lr
    rows[:, 13] = outcome.meta_lrs
    rows[:, 14:] = outcome.means[:, 4:]
    return rows


def _joined(blocks: deque[Numbers], columns: int) -> Numbers:
    return np.concatenate(blocks) if blocks else np.empty((0, columns))


def _curve(track: Track, recent: Numbers) -> Curve:
    return Curve(tuple(track.columns), track.buckets, track.weights, track.width, recent)


def _fitted(kept: Kept, track: Track) -> tuple[Numbers, Numbers, int]:
    """Its buckets with the columns of this version, in their order."""
    buckets = np.full((len(kept.weights), len(track.columns)), np.nan)
    for place, name in enumerate(track.columns):
        if name in kept.columns:
            buckets[:, place] = kept.buckets[:, kept.columns.index(name)]
    return buckets, kept.weights, kept.width
