"""Time by turns: contenders run short blocks, round after round, so that a drift of the machine hits all."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from streammeta.benchmarks.result import Result

ROUNDS = 21


class Timing(NamedTuple):
    """Seconds an event in each round, in their order."""

    rounds: tuple[float, ...]

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the largest round."""
        return min(self.rounds), max(self.rounds)

    def over(self, other: "Timing") -> float:
        """How many times longer than the other: the median of the rounds' ratios, pair by pair."""
        return statistics.median(a / b for a, b in zip(self.rounds, other.rounds, strict=True))


def by_turns(
    contenders: Mapping[str, Callable[[int], object]],
    *,
    events: int,
    per_call: Mapping[str, int] | None = None,
    rounds: int = ROUNDS,
) -> dict[str, Timing]:
    """Time blocks of `events` events of each contender in turn, after one block that is not counted.

    Args:
        contenders: By name, what learns from the event of a number.
        events: Events in a block, numbers 0 and up.
        per_call: Events that one call of a contender takes, where it is not 1.
        rounds: Blocks of each.

    >>> timings = by_turns({"nothing": lambda number: None}, events=10, rounds=3)
    >>> len(timings["nothing"].rounds), timings["nothing"].median > 0
    (3, True)
    """
    strides = {name: (per_call or {}).get(name, 1) for name in contenders}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, contender in contenders.items():
            gc.collect()
            began = time.perf_counter()
            for number in range(0, events, strides[name]):
                contender(number)
            taken[name].append((time.perf_counter() - began) / events)
    return {name: Timing(tuple(each[1:])) for name, each in taken.items()}


def results(timings: Mapping[str, Timing], ours: str) -> list[Result]:
    """Microseconds of each, and how many times faster `ours` is."""
    rows = [
        Result(name, 1e6 * timing.median, "µs", tuple(1e6 * bound for bound in timing.spread))
        for name, timing in timings.items()
    ]
    rows += [
        Result(f"{name} / {ours}", timing.over(timings[ours]), "ratio")
        for name, timing in timings.items()
        if name != ours
    ]
    return rows
