"""Has a mean changed? A window that is cut where its parts differ (ADWIN2), in bounded memory.

The window is kept as buckets of 1, 2, 4, … numbers, at most `PER_ROW` of a size. Two neighbouring parts
W_0, W_1 of it differ when

    |mean W_0 − mean W_1| > √(2 v ln(2 ln n / δ) / m) + 2 s ln(2 ln n / δ) / (3 m)

n and v: count and variance of the whole; 1/m = 1/(n_0 − k + 1) + 1/(n_1 − k + 1), k the shortest part.

Source: Bifet, Gavaldà 2007, SIAM Data Mining, for numbers in [0, 1]. The unit s is ours; with s = 1, and as
long as no more than `ROWS` sizes are needed, this is River's window. Beyond, the oldest numbers are dropped.
"""

import math
from typing import Final, NamedTuple

PER_ROW: Final = 5
ROWS: Final = 6
"""Sizes of buckets: a window of at most 378 numbers in at most 36 buckets."""
SHORTEST: Final = 5
"""Numbers in the shortest part that is compared."""

Bucket = tuple[float, float]
"""Sum of its numbers, and the sum of their squared distances from their mean."""


class Cut(NamedTuple):
    """Where the window's parts differ most: their means."""

    before: float
    after: float


class Adwin(NamedTuple):
    """The window.

    Attributes:
        seen: Numbers folded.
        width: Those still in it.
        total, squares: Their sum, and the sum of their squared distances from their mean.
        rows: Buckets of 1, 2, 4, … numbers, the older first.
    """

    seen: int = 0
    width: int = 0
    total: float = 0.0
    squares: float = 0.0
    rows: tuple[tuple[Bucket, ...], ...] = ()

    @property
    def mean(self) -> float:
        """Of the window; 0 while it is empty."""
        return self.total / self.width if self.width else 0.0

    @property
    def variance(self) -> float:
        """Likewise."""
        return self.squares / self.width if self.width else 0.0

    def fold(self, x: float, *, rows: int = ROWS) -> "Adwin":
        """The window after one more number. Costs two buckets merged on average."""
        width, squares = self.width + 1, self.squares
        if width > 1:
            squares += (width - 1) * (x - self.total / (width - 1)) ** 2 / width
        grown = Adwin(self.seen + 1, width, self.total + x, squares, _compressed(self.rows, x))
        return grown if len(grown.rows) <= rows else _without_oldest(grown)

    def cut(self, *, confidence: float, scale: float = 1.0, surer: float = 1.0) -> Cut | None:
        """Where its parts differ more than they may, and most so; else None. Looks at each bucket once.

        `surer`: times ln(2 ln n / δ), for numbers that are not independent.
        """
        n0, u0, most, found = 0, 0.0, 1.0, None
        spread = surer * math.log(2 * math.log(self.width) / confidence)
        variance = 2 * self.squares / self.width * spread
        spread *= 2 * scale / 3
        for place in range(len(self.rows) - 1, -1, -1):
            size, row = 1 << place, self.rows[place]
            for total, _ in row[: len(row) - (place == 0)]:
                n0, u0 = n0 + size, u0 + total
                n1 = self.width - n0
                if n1 < SHORTEST:
                    return found
                if n0 < SHORTEST:
                    continue
                before, after = u0 / n0, (self.total - u0) / n1
                inverse = 1 / (n0 - SHORTEST + 1) + 1 / (n1 - SHORTEST + 1)
                share = abs(before - after) / (math.sqrt(variance * inverse) + spread * inverse)
                if share > most:
                    most, found = share, Cut(before, after)
        return found


def _compressed(rows: tuple[tuple[Bucket, ...], ...], x: float) -> tuple[tuple[Bucket, ...], ...]:
    """The buckets and one of x; where a row overflows, its two oldest become one of the next row."""
    merged, new = [*rows], (x, 0.0)
    for place in range(len(rows) + 1):
        row = (*(rows[place] if place < len(rows) else ()), new)
        if place == len(rows):
            merged.append(row)
        if len(row) <= PER_ROW:
            merged[place] = row
            break
        size, (first, second) = 1 << place, row[:2]
        apart = (first[0] - second[0]) / size
        new = (first[0] + second[0], first[1] + second[1] + size * apart * apart / 2)
        merged[place] = row[2:]
    return tuple(merged)


def _without_oldest(window: Adwin) -> Adwin:
    """The window without its oldest bucket."""
    size, ((total, squares), *kept) = 1 << (len(window.rows) - 1), window.rows[-1]
    width, left = window.width - size, window.total - total
    apart = total / size - left / width
    squares = window.squares - squares - size * width * apart * apart / (size + width)
    rows = (*window.rows[:-1], tuple(kept)) if kept else window.rows[:-1]
    return Adwin(window.seen, width, left, squares, rows)
