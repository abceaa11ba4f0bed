"""Has a mean moved? The Page–Hinkley test, one number at a time.

    m_t = mean of x_1 … x_t,  d_t = (x_t − m_t)/s
    up:    U_t = α U_{t−1} + d_t − δ,  alarm when U_t − min U > λ
    down:  V_t = α V_{t−1} + d_t + δ,  alarm when max V − V_t > λ

Source: Page 1954, Biometrika 41, with the running mean of Hinkley 1971. α < 1 forgets as River does; the
papers have α = 1. s, the unit in which δ and λ are meant, is ours; with s = 1 this is River's test.
"""

import math
from typing import NamedTuple


class PageHinkley(NamedTuple):
    """What the test keeps.

    Attributes:
        seen, mean: Of the numbers so far.
        squares: Sum of their squared distances from their mean.
        up, lowest: U, and its minimum.
        down, highest: V, and its maximum.
    """

    seen: int = 0
    mean: float = 0.0
    squares: float = 0.0
    up: float = 0.0
    lowest: float = math.inf
    down: float = 0.0
    highest: float = -math.inf

    def fold(self, x: float, *, delta: float, alpha: float = 1.0, scale: float = 1.0) -> "PageHinkley":
        """After one more number.

        >>> PageHinkley().fold(1.0, delta=0.5).fold(3.0, delta=0.5).rise
        0.5
        """
        seen = self.seen + 1
        mean = self.mean + (x - self.mean) / seen
        squares = self.squares + (x - self.mean) * (x - mean)
        moved = (x - mean) / scale
        up, down = alpha * self.up + moved - delta, alpha * self.down + moved + delta
        lowest = up if up < self.lowest else self.lowest
        highest = down if down > self.highest else self.highest
        return PageHinkley(seen, mean, squares, up, lowest, down, highest)

    @property
    def variance(self) -> float:
        """Of the numbers; 0 while there are none."""
        return self.squares / self.seen if self.seen else 0.0

    @property
    def rise(self) -> float:
        """U − min U, which is compared with λ; 0 before the first number."""
        return self.up - self.lowest if self.seen else 0.0

    @property
    def fall(self) -> float:
        """The same of V: max V − V."""
        return self.highest - self.down if self.seen else 0.0
