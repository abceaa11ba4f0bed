"""Prequential (predict, then learn) evaluation: fading and windowed means of losses and accuracies.

Pure folds: each value is folded once, in the order learned, so a mean is part of the state.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from streammeta.evaluation.forgetting import Recalled

NOT_RECALLED = Recalled()

FADING = 0.99
"""Weight that a fading mean keeps per event: about the last 100 events count (Gama et al. 2013)."""
WINDOW = 1000
"""Events that a windowed mean spans at least."""
BLOCK = 100
"""By how many events it moves on."""


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


class Windowed(NamedTuple):
    """A plain mean over the last values, kept in blocks: as cheap and small as a fading one.

    Attributes:
        blocks: Sum and count of each block, older first; the last one is being filled.
    """

    blocks: tuple[tuple[float, int], ...] = ()

    def fold(self, value: float, *, block: int, blocks: int) -> "Windowed":
        """The window after one more value; one that is not finite changes nothing.

        It spans the last `blocks` whole blocks of `block` values, and the one that is being filled.

        >>> window = Windowed()
        >>> for value in (9.0, 9.0, 1.0, 3.0, 5.0):
        ...     window = window.fold(value, block=2, blocks=1)
        >>> window.mean
        3.0
        """
        if not math.isfinite(value):
            return self
        if not self.blocks or self.blocks[-1][1] >= block:
            return Windowed((*self.blocks[-blocks:], (value, 1)))
        total, count = self.blocks[-1]
        return Windowed((*self.blocks[:-1], (total + value, count + 1)))

    @property
    def mean(self) -> float:
        """The mean; NaN before the first value."""
        count = sum(count for _, count in self.blocks)
        return sum(total for total, _ in self.blocks) / count if count else math.nan


class Scores(NamedTuple):
    """One event's predictions, judged before it was learned from.

    Attributes:
        meta, adapted, memory: At w, after one adaptation, at the task's memory; NaN where there is none.
    """

    meta: float = math.nan
    adapted: float = math.nan
    memory: float = math.nan


UNKNOWN = Scores()


class Windows(NamedTuple):
    """The same over the last `WINDOW` to `WINDOW + BLOCK` events, losses and accuracies."""

    meta: Windowed = Windowed()
    adapted: Windowed = Windowed()
    memory: Windowed = Windowed()
    accuracy_meta: Windowed = Windowed()
    accuracy_adapted: Windowed = Windowed()
    accuracy_memory: Windowed = Windowed()

    def fold(self, *values: float) -> "Windows":
        """The windows after one more event."""
        return Windows(
            *(
                window.fold(value, block=BLOCK, blocks=WINDOW // BLOCK)
                for window, value in zip(self, values, strict=True)
            )
        )


class Prequential(NamedTuple):
    """Means over the whole stream: query losses before the event, the memory's tracking error, accuracies.

    Accuracies are the share of a query set that was classified rightly, of classifiers alone; `loss_earlier`
    and `forgetting` what `forgetting.Recalled` says, where earlier query sets are kept.
    """

    meta: Fading = Fading()
    adapted: Fading = Fading()
    memory: Fading = Fading()
    tracking_error: Fading = Fading()
    accuracy_meta: Fading = Fading()
    accuracy_adapted: Fading = Fading()
    accuracy_memory: Fading = Fading()
    windows: Windows = Windows()
    loss_earlier: Fading = Fading()
    forgetting: Fading = Fading()

    def fold(
        self,
        meta: float,
        adapted: float,
        memory: float,
        tracking_error: float,
        accuracy: Scores = UNKNOWN,
        recalled: Recalled = NOT_RECALLED,
    ) -> "Prequential":
        """The means after one more event."""
        return Prequential(
            self.meta.fold(meta),
            self.adapted.fold(adapted),
            self.memory.fold(memory),
            self.tracking_error.fold(tracking_error),
            self.accuracy_meta.fold(accuracy.meta),
            self.accuracy_adapted.fold(accuracy.adapted),
            self.accuracy_memory.fold(accuracy.memory),
            self.windows.fold(meta, adapted, memory, *accuracy),
            self.loss_earlier.fold(recalled.loss),
            self.forgetting.fold(recalled.forgetting),
        )

    @property
    def accuracies(self) -> tuple[Fading, Fading, Fading]:
        """At w, after one adaptation, at the task's memory."""
        return self.accuracy_meta, self.accuracy_adapted, self.accuracy_memory

    @classmethod
    def read(cls, plain: Sequence[Any]) -> "Prequential":
        """From what JSON made of one; also from that of a state without accuracies and windows.

        Raises:
            TypeError, ValueError: it is none.
        """
        means = [Fading(*pair) for pair in plain[:7]]
        windows = [Windowed(tuple((s, n) for s, n in blocks)) for (blocks,) in plain[7]] if plain[7:] else []
        later = [Fading(*pair) for pair in plain[8:]]
        known = dict(zip((*cls._fields[:7], *cls._fields[8:]), (*means, *later), strict=False))
        return cls(windows=Windows(*windows), **known)
