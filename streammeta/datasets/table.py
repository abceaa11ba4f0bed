"""A table as a stream of labelled examples, task by task, in the order of its rows' times.

Pure. Every number is scaled by what its task showed before that row, never by the row itself or a later one,
so a learner sees what it could have seen live. Each record carries the target's `level` and `scale` beside x
and y: prediction · scale + level is the forecast in the table's unit.
"""

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
        targets: float64 (rows,).
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
    """

    warm_up: Counter[str] = field(default_factory=Counter)
    jumps: Counter[str] = field(default_factory=Counter)


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


def table(
    rows: Rows,
    *,
    scaling: Scaling = "past",
    scale_target: bool = True,
    warm_up: int = 0,
    tally: Tally | None = None,
) -> Iterator[Example]:
    """An example a row: its features and its target, as floats.

    Args:
        rows: The table.
        scaling: "past" standardises each column by its task's earlier rows; "none" leaves it.
        scale_target: False leaves the target as it is: a class number.
        warm_up: A task's first rows that only scale the later ones; they give no example.
        tally: Counts those.

    >>> rows = Rows(["a"] * 3, np.array([[1.0], [3.0], [5.0]]), np.array([0.0, 1.0, 1.0]), None)
    >>> [(e.examples.x.item(), e.examples.y.item()) for e in table(rows, scale_target=False)]
    [(1.0, 0.0), (2.0, 1.0), (3.0, 1.0)]
    """
    tally = tally or Tally()
    pasts: dict[str, Past] = {}
    for row in in_order(rows):
        task, values = rows.tasks[row], np.append(rows.features[row], rows.targets[row])
        past = pasts.setdefault(task, Past(len(values), rows.roundings))
        level, scale = past.moments() if scaling == "past" else (np.zeros(len(values)), np.ones(len(values)))
        if not scale_target:
            level, scale = np.append(level[:-1], 0.0), np.append(scale[:-1], 1.0)
        cold = past.count < warm_up
        past.add(values)
        if cold:
            tally.warm_up[task] += 1
            continue
        made = _example(
            task, (values - level) / scale, len(values) - 1, level[-1], scale[-1], _time(rows, row)
        )
        yield made if scale_target else made._replace(examples=_classified(made.examples))


def series(
    rows: Rows,
    *,
    window: int,
    horizon: int,
    scaling: Scaling = "past",
    warm_up: int = 0,
    gaps: Mapping[str, float] | None = None,
    tally: Tally | None = None,
) -> Iterator[Example]:
    """An example a step of each task's series: its last `window` values, and the `horizon` values behind.

    It comes when the last of these is known. With "past" it is standardised by the values before its targets,
    with "window" by the mean and the standard deviation of its window. Where a task's time steps further than
    its entry of `gaps`, a new window begins; `warm_up` and `tally` are as for `table`.

    >>> rows = Rows(["a"] * 4, np.zeros((4, 0)), np.array([1.0, 2.0, 3.0, 4.0]), None)
    >>> [(e.examples.x.tolist(), e.examples.y.tolist())
    ...  for e in series(rows, window=2, horizon=1, scaling="none")]
    [([[1.0, 2.0]], [[3.0]]), ([[2.0, 3.0]], [[4.0]])]
    """
    tally, gaps = tally or Tally(), gaps or {}
    shown: dict[str, list[float]] = {}
    pasts: dict[str, Past] = {}
    last: dict[str, float] = {}
    target_rounding = None if rows.roundings is None else rows.roundings[-1:]
    for row in in_order(rows):
        task, time = rows.tasks[row], _time(rows, row)
        values, past = shown.setdefault(task, []), pasts.setdefault(task, Past(1, target_rounding))
        if time - last.get(task, time) > gaps.get(task, np.inf):
            tally.jumps[task] += 1
            for value in values[-horizon:]:
                past.add(np.array([value]))
            values.clear()
        last[task] = time
        values.append(rows.targets[row])
        if len(values) > horizon:
            past.add(np.array([values[-1 - horizon]]))
        if len(values) == window + horizon:
            if past.count < warm_up:
                tally.warm_up[task] += 1
            else:
                level, scale = of_window(past, values[:window], scaling)
                yield _example(task, (np.array(values) - level) / scale, window, level, scale, time)
            del values[0]


def in_order(rows: Rows) -> Iterator[int]:
    """The places of the rows by their times; those of one time, and all without times, in their own order."""
    places = range(len(rows.targets)) if rows.times is None else np.argsort(rows.times, kind="stable")
    return map(int, places)


def _example(task: str, scaled: Array, inputs: int, level: float, scale: float, time: float) -> Example:
    with np.errstate(over="ignore"):
        row = scaled.astype(np.float32)[None]
    return Example(task, Batch(row[:, :inputs], row[:, inputs:]), float(level), float(scale), time)


def _classified(examples: Batch[Array]) -> Batch[Array]:
    """With one class number an example, as cross-entropy takes them."""
    return Batch(examples.x, examples.y[:, 0])


def _time(rows: Rows, row: int) -> float:
    return 0.0 if rows.times is None else float(rows.times[row])
