"""Time by turns: contenders are measured one after the other, round after round.

A drift of the machine, or another program on it, hits all of them; so ratios hold where times do not.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streammeta.benchmarks.rows import Row

Measure = Callable[[], float]
"""Takes a figure once: seconds an event, mostly."""


class Rounds(NamedTuple):
    """A figure in each round, in their order."""

    figures: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.figures)

    @property
    def spread(self) -> tuple[float, float] | None:
        """First and third quartile."""
        if len(self.figures) < 2:
            return None
        low, _, high = statistics.quantiles(self.figures, n=4, method="inclusive")
        return low, high

    def over(self, other: "Rounds") -> "Rounds":
        """How many times as much as the other, round by round."""
        return Rounds(tuple(a / b for a, b in zip(self.figures, other.figures, strict=True)))

    def row(self, name: str, unit: str, scale: float = 1.0, note: str = "") -> Row:
        """The figure as a row, times `scale`."""
        spread = None if self.spread is None else (scale * self.spread[0], scale * self.spread[1])
        return Row(name, scale * self.median, unit, spread, len(self.figures), note)


def turns(contenders: Mapping[str, Measure], rounds: int, *, uncounted: int = 1) -> dict[str, Rounds]:
    """Take the figure of each contender in turn, after `uncounted` rounds that are thrown away.

    >>> turns({"a": lambda: 2.0, "b": lambda: 6.0}, 3)["b"].over(Rounds((2.0, 2.0, 3.0))).median
    3.0
    """
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(uncounted + rounds):
        for name, measure in contenders.items():
            taken[name].append(measure())
    return {name: Rounds(tuple(figures[uncounted:])) for name, figures in taken.items()}


def block(contender: Callable[[int], object], events: int, per_call: int = 1) -> Measure:
    """Seconds an event over a block of `events`, numbers 0 and up; a call takes `per_call` of them."""

    def measure() -> float:
        gc.collect()
        began = time.perf_counter()
        for number in range(0, events, per_call):
            contender(number)
        return (time.perf_counter() - began) / events

    return measure


def against(measured: Mapping[str, Rounds], ours: str) -> list[Row]:
    """Microseconds of each, then how many times as long as `ours` each other takes."""
    rows = [rounds.row(name, "µs", 1e6) for name, rounds in measured.items()]
    return rows + [
        rounds.over(measured[ours]).row(f"{name} / {ours}", "ratio")
        for name, rounds in measured.items()
        if name != ours
    ]
