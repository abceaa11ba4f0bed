"""A bounded history of rows of numbers, at a resolution that halves whenever it is full.

A bucket holds `width` rows, each column reduced in its own way. When all buckets are full, neighbours are
merged and `width` doubles: between half of the capacity and all of it is always in use, whatever was folded.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


def _mean(values: Numbers, weights: Numbers) -> Numbers:
    known = np.isfinite(values)
    weight = (weights * known).sum(axis=1)
    total = (weights * np.where(known, values, 0.0)).sum(axis=1)
    mean: Numbers = np.divide(total, weight, out=np.full_like(total, np.nan), where=weight > 0)
    return mean


def _last(values: Numbers, _: Numbers) -> Numbers:
    places = np.where(np.isnan(values), 0, np.arange(values.shape[1])[:, None]).max(axis=1)
    return np.take_along_axis(values, places[:, None], axis=1)[:, 0]


REDUCTIONS: Final[dict[str, Callable[[Numbers, Numbers], Numbers]]] = {
    "mean": _mean,
    "min": lambda values, _: np.fmin.reduce(values, axis=1),
    "max": lambda values, _: np.fmax.reduce(values, axis=1),
    "last": _last,
    "sum": lambda values, _: np.nansum(values, axis=1),
}
"""(buckets, rows, columns) -> (buckets, columns); unknown numbers (NaN) do not count."""


class Track:
    """Rows in, buckets out.

    Args:
        columns: Name of each column -> how it is reduced, a key of `REDUCTIONS`.
        capacity: Most buckets; even.
    """

    def __init__(self, columns: dict[str, str], capacity: int) -> None:
        if capacity < 2 or capacity % 2:
            raise ValueError(f"capacity {capacity}: must be even, and at least 2")
        self.columns = columns
        self.width = 1
        self._capacity = capacity
        self._buckets: Numbers = np.empty((0, len(columns)))
        self._weights: Numbers = np.empty(0)
        self._groups = _groups([*columns.values()])

    @property
    def buckets(self) -> Numbers:
        """All buckets, the last of which may still be open; never changed in place."""
        return self._buckets

    @property
    def weights(self) -> Numbers:
        """Rows in each bucket; never changed in place."""
        return self._weights

    def reduce(self, rows: Numbers) -> Numbers:
        """The rows as one, (1, columns)."""
        return self._reduced(rows[None], np.ones((1, len(rows), 1)))

    def extend(self, rows: Numbers) -> None:
        """Fold rows (n, columns), in order. Buckets that they fill alone are made together."""
        while len(rows):
            open_rows = int(self._weights[-1]) if len(self._weights) else self.width
            if open_rows < self.width:
                taken = self.width - open_rows
                self._grow(rows[:taken])
            elif len(self._weights) == self._capacity:
                self._halve()
                continue
            else:
                full = min(len(rows) // self.width, self._capacity - len(self._weights))
                each = self.width if full else len(rows)
                taken = max(full, 1) * each
                self._begin(rows[:taken].reshape(-1, each, rows.shape[1]))
            rows = rows[taken:]

    def restore(self, buckets: Numbers, weights: Numbers, width: int) -> None:
        """Continue from what `buckets`, `weights` and `width` once were."""
        if buckets.shape != (len(weights), len(self.columns)) or width < 1:
            raise ValueError(f"buckets {buckets.shape}, weights {weights.shape}, width {width} do not fit")
        self._buckets, self._weights, self.width = buckets, weights, width
        while len(self._weights) > self._capacity:
            self._halve()

    def _begin(self, blocks: Numbers) -> None:
        """New buckets, each of the rows of a block."""
        count, rows, _ = blocks.shape
        self._buckets = np.concatenate([self._buckets, self._reduced(blocks, np.ones((1, rows, 1)))])
        self._weights = np.append(self._weights, np.full(count, float(rows)))

    def _grow(self, rows: Numbers) -> None:
        together = np.concatenate([self._buckets[-1:], rows])[None]
        weights = np.append(self._weights[-1], np.ones(len(rows)))[None, :, None]
        self._buckets = np.concatenate([self._buckets[:-1], self._reduced(together, weights)])
        self._weights = np.append(self._weights[:-1], weights.sum())

    def _halve(self) -> None:
        pairs = len(self._weights) // 2
        weights = self._weights[: 2 * pairs].reshape(pairs, 2, 1)
        merged = self._reduced(self._buckets[: 2 * pairs].reshape(pairs, 2, -1), weights)
        self._buckets = np.concatenate([merged, self._buckets[2 * pairs :]])
        self._weights = np.append(weights.sum(axis=(1, 2)), self._weights[2 * pairs :])
        self.width *= 2

    def _reduced(self, rows: Numbers, weights: Numbers) -> Numbers:
        reduced = np.empty((rows.shape[0], rows.shape[2]))
        for how, places in self._groups:
            reduced[:, places] = REDUCTIONS[how](rows[:, :, places], weights)
        return reduced


def _groups(reductions: Sequence[str]) -> list[tuple[str, list[int]]]:
    """Each reduction in use, with the columns that it serves."""
    return [
        (how, [place for place, name in enumerate(reductions) if name == how])
        for how in dict.fromkeys(reductions)
    ]
