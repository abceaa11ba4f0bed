"""By what a task's numbers are scaled: what it showed before, or a window."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from streammeta.events import Array

Scaling = Literal["past", "window", "none"]
_ROUNDING = 1e-12
"""Of float64 that went through a few operations, relative to its magnitude."""


class Past:
    """Running mean and standard deviation of the values that a task showed (Welford 1962), per column.

    Args:
        columns: How many.
        roundings: Relative deviations that are none, (columns,); None: those of float64.
    """

    def __init__(self, columns: int, roundings: Array | None = None) -> None:
        self.count = 0
        self._mean = np.zeros(columns)
        self._squares = np.zeros(columns)
        self._largest = np.zeros(columns)
        self._roundings = np.full(columns, _ROUNDING) if roundings is None else roundings

    def moments(self) -> tuple[Array, Array]:
        """Level and scale, (columns,) each: 0 and 1 before the first value; scale 1 while all are equal.

        Values that differ by rounding alone are equal.
        """
        if self.count < 2:
            return self._mean, np.ones_like(self._mean)
        deviation = np.sqrt(self._squares / self.count)
        return self._mean, np.where(deviation > self._largest * self._roundings, deviation, 1.0)

    def add(self, values: Array) -> None:
        """One more row."""
        self.count += 1
        before = values - self._mean
        self._mean = self._mean + before / self.count
        self._squares = self._squares + before * (values - self._mean)
        self._largest = np.maximum(self._largest, np.abs(values))

    def flat(self, values: Sequence[float]) -> bool:
        """Whether values of the first column are one value, rounded differently."""
        return bool(np.std(values) <= self._roundings[0] * np.max(np.abs(values)))


def of_window(past: Past, window: Sequence[float], scaling: Scaling) -> tuple[float, float]:
    """Level and scale of a series' window and of what follows it."""
    if scaling == "none":
        return 0.0, 1.0
    level, scale = (float(column[0]) for column in past.moments())
    if scaling == "past":
        return level, scale
    deviation = float(np.std(window))
    # A flat window says nothing of the scale; what the task showed before does.
    flat = past.flat(window) or deviation <= 1e-3 * scale
    return float(np.mean(window)), scale if flat else deviation
