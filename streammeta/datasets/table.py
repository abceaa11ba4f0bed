"""A table as a stream of labelled examples, task by task, in the order of its rows' times.

Pure. Every number is scaled by what its task showed before that row, never by the row itself or a later one,
so a learner sees what it could have seen live. Each record carries the target's `level` and `scale` beside x
and y: prediction · scale + level is the forecast in the table's unit.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from streammeta.events import Array, Batch

Scaling = Literal["past", "window", "none"]


@dataclass(frozen=True, slots=True)
class Rows:
    """A table's rows, in its order.

    Attributes:
        tasks: Task id of each row.
        features: float64 (rows, k); k is 0 for a series.
        targets: float64 (rows,).
        times: float64 (rows,), in seconds or any unit; None where the rows' own order is all there is.
        dated: Whether times are seconds since 1970.
    """

    tasks: Sequence[str]
    features: Array
    targets: Array
    times: Array | None
    dated: bool = False


class Example(NamedTuple):
    """One record of the stream.

    Attributes:
        task: Its task.
        examples: x (1, k), y (1, targets) or, of a class number, (1,); float32.
        level, scale: Of the target: y = (value − level) / scale.
        time: Of the row, or of a series' last target; 0 without times.
    """

    task: str
    examples: Batch[Array]
    level: float
    scale: float
    time: float


class Past:
    """Running mean and standard deviation of the values that a task showed (Welford 1962), per column."""

    def __init__(self, columns: int) -> None:
        self._count = 0
        self._mean = np.zeros(columns)
        self._squares = np.zeros(columns)

    def moments(self) -> tuple[Array, Array]:
        """Level and scale, (columns,) each: 0 and 1 before the first value; scale 1 while all are equal."""
        if self._count < 2:
            return self._mean, np.ones_like(self._mean)
        deviation = np.sqrt(self._squares / self._count)
        return self._mean, np.where(deviation > 0, deviation, 1.0)

    def add(self, values: Array) -> None:
        """One more row."""
        self._count += 1
        before = values - self._mean
        self._mean = self._mean + before / self._count
        self._squares = self._squares + before * (values - self._mean)


def table(rows: Rows, *, scaling: Scaling = "past", scale_target: bool = True) -> Iterator[Example]:
    """An example a row: its features and its target, as floats.

    Args:
        rows: The table.
        scaling: "past" standardises each column by its task's earlier rows; "none" leaves it.
        scale_target: False leaves the target as it is: a class number.

    >>> rows = Rows(["a"] * 3, np.array([[1.0], [3.0], [5.0]]), np.array([0.0, 1.0, 1.0]), None)
    >>> [(e.examples.x.item(), e.examples.y.item()) for e in table(rows, scale_target=False)]
    [(1.0, 0.0), (2.0, 1.0), (3.0, 1.0)]
    """
    pasts: dict[str, Past] = {}
    for row in in_order(rows):
        task, values = rows.tasks[row], np.append(rows.features[row], rows.targets[row])
        past = pasts.setdefault(task, Past(len(values)))
        level, scale = past.moments() if scaling == "past" else (np.zeros(len(values)), np.ones(len(values)))
        if not scale_target:
            level, scale = np.append(level[:-1], 0.0), np.append(scale[:-1], 1.0)
        past.add(values)
        made = _example(
            task, (values - level) / scale, len(values) - 1, level[-1], scale[-1], _time(rows, row)
        )
        yield made if scale_target else made._replace(examples=_classified(made.examples))


def series(rows: Rows, *, window: int, horizon: int, scaling: Scaling = "past") -> Iterator[Example]:
    """An example a step of each task's series: its last `window` values, and the `horizon` values behind.

    It comes when the last of these is known. With "past" it is standardised by the values before its targets,
    with "window" by the mean and the standard deviation of its window.

    >>> rows = Rows(["a"] * 4, np.zeros((4, 0)), np.array([1.0, 2.0, 3.0, 4.0]), None)
    >>> [(e.examples.x.tolist(), e.examples.y.tolist())
    ...  for e in series(rows, window=2, horizon=1, scaling="none")]
    [([[1.0, 2.0]], [[3.0]]), ([[2.0, 3.0]], [[4.0]])]
    """
    shown: dict[str, list[float]] = {}
    pasts: dict[str, Past] = {}
    for row in in_order(rows):
        task = rows.tasks[row]
        values, past = shown.setdefault(task, []), pasts.setdefault(task, Past(1))
        values.append(rows.targets[row])
        if len(values) > horizon:
            past.add(np.array([values[-1 - horizon]]))
        if len(values) == window + horizon:
            level, scale = _moments(past, values[:window], scaling)
            yield _example(task, (np.array(values) - level) / scale, window, level, scale, _time(rows, row))
            del values[0]


def in_order(rows: Rows) -> Iterator[int]:
    """The places of the rows by their times; those of one time, and all without times, in their own order."""
    places = range(len(rows.targets)) if rows.times is None else np.argsort(rows.times, kind="stable")
    return map(int, places)


def _moments(past: Past, window: Sequence[float], scaling: Scaling) -> tuple[float, float]:
    if scaling == "none":
        return 0.0, 1.0
    level, scale = (float(column[0]) for column in past.moments())
    if scaling == "past":
        return level, scale
    deviation = float(np.std(window))
    # A flat window says nothing of the scale; what the task showed before does.
    return float(np.mean(window)), deviation if deviation > 1e-3 * scale else scale


def _example(task: str, scaled: Array, inputs: int, level: float, scale: float, time: float) -> Example:
    with np.errstate(over="ignore"):
        row = scaled.astype(np.float32)[None]
    return Example(task, Batch(row[:, :inputs], row[:, inputs:]), float(level), float(scale), time)


def _classified(examples: Batch[Array]) -> Batch[Array]:
    """With one class number an example, as cross-entropy takes them."""
    return Batch(examples.x, examples.y[:, 0])


def _time(rows: Rows, row: int) -> float:
    return 0.0 if rows.times is None else float(rows.times[row])
