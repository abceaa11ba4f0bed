"""Statistics folded from the numbers of a chunk, event by event in their order.

Every mean is a plain sum of Python floats, one event after the other, so that its bits do not depend on how
the stream was cut into chunks.
"""

import math
from collections.abc import MutableSequence, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streammeta.evaluation.prequential import BLOCK, FADING, WINDOW, Fading, Prequential, Windowed, Windows
from streammeta.state.store import Blocks, TaskStats

Numbers = NDArray[np.float64]

TASK_FADING: Final = 0.9
"""Weight that a task's own fading means keep per visit: about its last 10 visits count."""
TASK_BLOCK: Final = 10
"""Visits in a block of a task's own windows: they span its last 10 to 20."""

_WEIGHTS: Final = [math.nan, 1.0]
"""Weight of n values: (1 − λⁿ)/(1 − λ)."""


class Means(NamedTuple):
    """Fading means over the stream, as `Prequential` has them; NaN while unknown."""

    meta: float
    adapted: float
    memory: float
    tracking_error: float
    accuracy_meta: float
    accuracy_adapted: float
    accuracy_memory: float
    loss_earlier: float
    forgetting: float


class Visits(NamedTuple):
    """What the events of a chunk did to their tasks, by event.

    Attributes:
        counts: Events of the task, this one included.
        staleness: Events learned since the task was last seen; NaN at its first visit.
        losses: The task's loss after it, a fading mean.
    """

    counts: NDArray[np.int64]
    staleness: Numbers
    losses: Numbers


def visited(
    stats: MutableSequence[TaskStats],
    slots: Sequence[int],
    times_ms: Sequence[int],
    judged: Numbers,
    first_event: int,
) -> Visits:
    """Fold each event into the statistics of its task, which lie at its slot.

    Args:
        stats: Statistics by slot; changed.
        slots: Of the tasks, by event.
        times_ms: Event times.
        judged: By event, columns as `Means`: NaN where a value is unknown.
        first_event: Index of the first one among all events learned, counted from 1.
    """
    counts, staleness, losses = [], [], []
    events = zip(slots, times_ms, judged.tolist(), strict=True)
    for number, (slot, time_ms, values) in enumerate(events, first_event):
        before = stats[slot]
        after = stats[slot] = _visited(before, number, time_ms, values)
        counts.append(after.events)
        staleness.append(number - before.last_event if before.events else math.nan)
        losses.append(after.loss_adapted if after.loss_memory != after.loss_memory else after.loss_memory)
    return Visits(np.array(counts, np.int64), np.array(staleness), np.array(losses))


def _visited(stats: TaskStats, event: int, time_ms: int, values: Sequence[float]) -> TaskStats:
    """The statistics after one more visit. `memory_norm` is brought up to date when the row is written."""
    meta, adapted, memory, _, *accuracies, earlier, forgetting = values
    visits = stats.events
    of_meta, of_adapted, of_memory = stats.windows
    known = any(value == value for value in accuracies)
    return TaskStats(
        visits + 1,
        event,
        time_ms,
        faded(stats.loss_meta, meta, visits),
        faded(stats.loss_adapted, adapted, visits),
        faded(stats.loss_memory, memory, visits - 1),
        stats.memory_norm,
        *(_faded_accuracies(stats, accuracies) if known else stats[7:10]),
        (_blocks(of_meta, meta), _blocks(of_adapted, adapted), _blocks(of_memory, memory)),
        faded(stats.loss_earlier, earlier, visits - 1),
        faded(stats.forgetting, forgetting, visits - 1),
        stats.reset_after,
        stats.drift,
    )


def _faded_accuracies(stats: TaskStats, accuracies: Sequence[float]) -> tuple[float, float, float]:
    meta, adapted, memory = accuracies
    return (
        faded(stats.accuracy_meta, meta, stats.events),
        faded(stats.accuracy_adapted, adapted, stats.events),
        faded(stats.accuracy_memory, memory, stats.events - 1),
    )


def faded(mean: float, value: float, values_before: int) -> float:
    """The fading mean after one more value, from the number of values before it.

    The weight of n values is N = (1 − λⁿ)/(1 − λ), and the mean moves by (x − mean)/N. A value that is not
    finite (unknown, or overflowed) moves nothing.

    >>> math.isclose(faded(2.0, 4.0, 1), (4 + TASK_FADING * 2) / (1 + TASK_FADING))
    True
    """
    if not math.isfinite(value):
        return mean
    if values_before <= 0 or mean != mean:
        return value
    return mean + (value - mean) / _weight(values_before + 1)


def _weight(values: int) -> float:
    while values >= len(_WEIGHTS) <= 1000:  # far beyond, a weight no longer grows
        _WEIGHTS.append((1 - TASK_FADING ** len(_WEIGHTS)) / (1 - TASK_FADING))
    return _WEIGHTS[min(values, 1000)]


def _blocks(blocks: Blocks, value: float) -> Blocks:
    """The task's window after one more visit: `Windowed.fold` with two blocks."""
    if not math.isfinite(value):
        return blocks
    if not blocks:
        return ((value, 1),)
    total, count = blocks[-1]
    if count >= TASK_BLOCK:
        return (blocks[-1], (value, 1))
    return (*blocks[:-1], (total + value, count + 1))


def fold_stream(prequential: Prequential, judged: Numbers) -> tuple[Prequential, Numbers]:
    """The means over the stream after all events, and after each of them, columns as `Means`."""
    means = np.empty(judged.shape)
    folded: dict[str, Any] = {}
    for place, name in enumerate(Means._fields):
        folded[name], means[:, place] = _fade(getattr(prequential, name), judged[:, place])
    three, accuracies = judged[:, :3].T, judged[:, 4:7].T
    windows = map(_window, prequential.windows, (*three, *accuracies))
    return Prequential(windows=Windows(*windows), **folded), means


def _fade(fading: Fading, values: Numbers) -> tuple[Fading, Numbers | float]:
    """`Fading.fold` of each value, and the mean after it."""
    known = np.isfinite(values)
    if not known.any():
        return fading, fading.mean
    total, weight = fading
    means, mean, isfinite = [], fading.mean, math.isfinite
    for value in values.tolist():
        if isfinite(value):
            total = value + FADING * total
            weight = 1.0 + FADING * weight
            mean = total / weight
        means.append(mean)
    return Fading(total, weight), np.array(means)


def _window(window: Windowed, values: Numbers) -> Windowed:
    """`Windowed.fold` of each value."""
    left = values[np.isfinite(values)].tolist()
    blocks = [*window.blocks]
    while left:
        if not blocks or blocks[-1][1] >= BLOCK:
            blocks = [*blocks[-(WINDOW // BLOCK) :], (left.pop(0), 1)]
        total, count = blocks[-1]
        taken, left = left[: BLOCK - count], left[BLOCK - count :]
        for value in taken:
            total += value
        blocks[-1] = (total, count + len(taken))
    return Windowed(tuple(blocks))
