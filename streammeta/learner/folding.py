"""The stream's statistics folded from the numbers of a chunk, event by event in their order.

Every mean is a plain sum of Python floats, one event after the other, so that its bits do not depend on how
the stream was cut into chunks.
"""

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streammeta.evaluation.prequential import BLOCK, FADING, WINDOW, Fading, Prequential, Windowed, Windows

Numbers = NDArray[np.float64]


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
