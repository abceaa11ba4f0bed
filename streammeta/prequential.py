"""Prequential (predict, then learn) evaluation: fading means of losses.

Pure folds: each value is folded once, in the order learned, so a mean is part of the state.
"""

import math
from typing import NamedTuple

FADING = 0.99
"""Weight that a fading mean keeps per event: about the last 100 events count (Gama et al. 2013)."""


class Fading(NamedTuple):
    """A fading mean: S ← x + λS, N ← 1 + λN, mean S/N; unbiased from the first value on."""

    total: float = 0.0
    weight: float = 0.0

    def fold(self, value: float, factor: float = FADING) -> "Fading":
        """The mean after one more value; one that is not finite (unknown, or overflowed) changes nothing.

        >>> Fading().fold(2.0).fold(4.0, factor=0.5).mean
        3.3333333333333335
        """
        if not math.isfinite(value):
            return self
        return Fading(value + factor * self.total, 1.0 + factor * self.weight)

    @property
    def mean(self) -> float:
        """The mean; NaN before the first value."""
        return self.total / self.weight if self.weight else math.nan


class Prequential(NamedTuple):
    """Fading means over the whole stream: query losses before the event, and the memory's tracking error."""

    meta: Fading = Fading()
    adapted: Fading = Fading()
    memory: Fading = Fading()
    tracking_error: Fading = Fading()

    def fold(self, meta: float, adapted: float, memory: float, tracking_error: float) -> "Prequential":
        """The means after one more event."""
        return Prequential(
            self.meta.fold(meta),
            self.adapted.fold(adapted),
            self.memory.fold(memory),
            self.tracking_error.fold(tracking_error),
        )
