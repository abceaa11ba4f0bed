"""A table as a stream of labelled examples, task by task, in the order of its rows' times.

Pure. Every number is scaled by what its task showed before that row, never by the row itself or a later one,
so a learner sees what it could have seen live. Each record carries the target's `level` and `scale` beside x
and y: prediction · scale + level is the forecast in the table's unit. A row without a target asks for a
forecast, and so can the end of a series.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from streammeta.datasets.table_scaling import Past, Scaling, of_window
from streammeta.events import Array, Batch


@dataclass(frozen=True, slots=True)
class Rows:
    """A table's rows, in its order.

    Attributes:
        tasks: Task id of each row.
        features: float64 (rows, k); k is 0 for a series.
        targets: float64 (rows,); NaN of a row that asks for a prediction.
        times: float64 (rows,), in seconds or any unit; None where the rows' own order is all there is.
        dated: Whether times are seconds since 1970.
    """

    tasks: Sequence[str]
    features: Array
    targets: Array
    times: Array | None
    dated: bool = False
    roundings: Array | None = None
    """Per column, the target last: the relative deviation that rounding alone makes; None: of float64."""


@dataclass(slots=True)
class Tally:
    """What was not sent, or ended early.

    Attributes:
        warm_up: Rows before their task had shown enough, by task.
        jumps: Windows that were broken where time jumped, by task.
        asked: How many examples ask.
        unasked: Those not sent, for their task had shown too little before, by task.
    """

    warm_up: Counter[str] = field(default_factory=Counter)
    jumps: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    unasked: Counter[str] = field(default_factory=Counter)


class Example(NamedTuple):
    """One record of the stream.

    Attributes:
        task: Its task.
        examples: x (1, k), y (1, targets) or, of a class number, (1,); float32. y is NaN where it asks.
        level, scale: Of the target: y = (value − level) / scale.
        time: Of the row, or of a series' last target, or last value where it asks; 0 without times.
        asks: Whether it has no labels.
    """

    task: str
    examples: Batch[Array]
    level: float
    scale: float
    time: float
    asks: bool = False


def table(
    rows: Rows,
    *,
    scaling: Scaling = "past",
    scale_target: bool = True,
    warm_up: int = 0,
    tally: Tally | None = None,
) -> Iterator[Example]:
    """An example a row: its features and its target, as floats; without a target it asks.

    Args:
        rows: The table.
        scaling: "past" standardises each column by its task's earlier rows; "none" leaves it.
        scale_target: False leaves the target as it is: a class number.
        warm_up: A task's first rows with a target that only scale the later ones; they give no example.
        tally: Counts those.

    >>> rows = Rows(["a"] * 3, np.array([[1.0], [3.0], [5.0]]), np.array([0.0, 1.0, 1.0]), None)
    >>> [(e.examples.x.item(), e.examples.y.item()) for e in table(rows, scale_target=False)]
    [(1.0, 0.0), (2.0, 1.0), (3.0, 1.0)]
    """
    tally = tally or Tally()
    pasts: dict[str, _Pasts] = {}
    for row in in_order(rows):
        task, values = rows.tasks[row], np.append(rows.features[row], rows.targets[row])
        past = pasts.setdefault(task, _Pasts(len(values) - 1, rows.roundings))
        level, scale = past.moments() if scaling == "past" else (np.zeros(len(values)), np.ones(len(values)))
        if not scale_target:
            level, scale = np.append(level[:-1], 0.0), np.append(scale[:-1], 1.0)
        cold, asks = past.count(scale_target) < warm_up, bool(np.isnan(values[-1]))
        past.add(values)
        if cold:
            (tally.unasked if asks else tally.warm_up)[task] += 1
            continue
        tally.asked += asks
        made = _example(
            task, (values - level) / scale, len(values) - 1, level[-1], scale[-1], _time(rows, row), asks
        )
        yield made if scale_target else made._replace(examples=_classified(made.examples))


class _Pasts:
    """What a task showed, of its features and of its target, which some rows lack."""

    def __init__(self, features: int, roundings: Array | None) -> None:
        of_features, of_target = (None, None) if roundings is None else (roundings[:-1], roundings[-1:])
        self._features, self._target = Past(features, of_features), Past(1, of_target)

    def count(self, of_target: bool) -> int:
        return (self._target if of_target else self._features).count

    def moments(self) -> tuple[Array, Array]:
        levels, scales = zip(self._features.moments(), self._target.moments(), strict=True)
        return np.concatenate(levels), np.concatenate(scales)

    def add(self, values: Array) -> None:
        self._features.add(values[:-1])
        if not np.isnan(values[-1]):
            self._target.add(values[-1:])


def series(
    rows: Rows,
    *,
    window: int,
    horizon: int,
    scaling: Scaling = "past",
    warm_up: int = 0,
    gaps: Mapping[str, float] | None = None,
    ask: bool = False,
    tally: Tally | None = None,
) -> Iterator[Example]:
    """An example a step of each task's series: its last `window` values, and the `horizon` values behind.

    It comes when the last of these is known. With "past" it is standardised by the values before its targets,
    with "window" by the mean and the standard deviation of its window. Where a task's time steps further than
    its entry of `gaps`, a new window begins; `warm_up` and `tally` are as for `table`. With `ask`, one more
    behind a task's last value asks for what follows.

    >>> rows = Rows(["a"] * 4, np.zeros((4, 0)), np.array([1.0, 2.0, 3.0, 4.0]), None)
    >>> [(e.examples.x.tolist(), e.examples.y.tolist())
    ...  for e in series(rows, window=2, horizon=1, scaling="none")]
    [([[1.0, 2.0]], [[3.0]]), ([[2.0, 3.0]], [[4.0]])]
    """
    tally, gaps = tally or Tally(), gaps or {}
    left = Counter(rows.tasks if ask else ())
    shown: dict[str, _Shown] = {}
    for row in in_order(rows):
        task, time = rows.tasks[row], _time(rows, row)
        one = shown.setdefault(task, _Shown(task, window, horizon, rows.roundings))
        if time - one.time > gaps.get(task, np.inf):
            tally.jumps[task] += 1
            one.close()
        one.add(rows.targets[row], time)
        if len(one.values) == window + horizon:
            if one.past.count < warm_up:
                tally.warm_up[task] += 1
            else:
                yield one.example(scaling)
            del one.values[0]
        left[task] -= 1
        if ask and not left[task]:
            asked = one.question(scaling, warm_up)
            if asked is None:
                tally.unasked[task] += 1
            else:
                tally.asked += 1
                yield asked


class _Shown:
    """What a series showed: the values of its next window and targets, and those before any targets."""

    def __init__(self, task: str, window: int, horizon: int, roundings: Array | None) -> None:
        self._task, self._window, self._horizon = task, window, horizon
        self.values: list[float] = []
        self.past = Past(1, None if roundings is None else roundings[-1:])
        self.time = math.inf  # nothing is later than its first value

    def add(self, value: float, time: float) -> None:
        self.time = time
        self.values.append(value)
        if len(self.values) > self._horizon:
            self.past.add(np.array([self.values[-1 - self._horizon]]))

    def close(self) -> None:
        """No targets follow: all values are of the past, and a new window begins."""
        for value in self.values[-self._horizon :]:
            self.past.add(np.array([value]))
        self.values.clear()

    def example(self, scaling: Scaling, *, asks: bool = False) -> Example:
        """Of the first values; of those behind none is known where it asks."""
        level, scale = of_window(self.past, self.values[: self._window], scaling)
        scaled = (np.array(self.values) - level) / scale
        return _example(self._task, scaled, self._window, level, scale, self.time, asks)

    def question(self, scaling: Scaling, warm_up: int) -> Example | None:
        """What follows the last value; None where too little was shown."""
        values = self.values[-self._window :]
        self.close()
        if len(values) < self._window or self.past.count < warm_up:
            return None
        self.values = [*values, *[math.nan] * self._horizon]
        return self.example(scaling, asks=True)


def in_order(rows: Rows) -> Iterator[int]:
    """The places of the rows by their times; those of one time, and all without times, in their own order."""
    places = range(len(rows.targets)) if rows.times is None else np.argsort(rows.times, kind="stable")
    return map(int, places)


def _example(
    task: str, scaled: Array, inputs: int, level: float, scale: float, time: float, asks: bool = False
) -> Example:
    with np.errstate(over="ignore"):
        row = scaled.astype(np.float32)[None]
    return Example(task, Batch(row[:, :inputs], row[:, inputs:]), float(level), float(scale), time, asks)


def _classified(examples: Batch[Array]) -> Batch[Array]:
    """With one class number an example, as cross-entropy takes them."""
    return Batch(examples.x, examples.y[:, 0])


def _time(rows: Rows, row: int) -> float:
    return 0.0 if rows.times is None else float(rows.times[row])
