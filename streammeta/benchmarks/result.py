"""What a benchmark returns, and how time is taken."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple


class Result(NamedTuple):
    """One figure, a median where there are several rounds.

    Attributes:
        name: What was measured.
        value: The figure.
        unit: Its unit; "ratio" compares two figures of the same run.
        spread: The least and the largest round; None for a single one.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, ...] | None = None


def seconds_per_call(call: Callable[[], object], *, calls: int, rounds: int = 5) -> float:
    """The median over rounds of the mean time of a call, after one round that is not counted."""
    times = []
    for _ in range(rounds + 1):
        gc.collect()
        began = time.perf_counter()
        for _ in range(calls):
            call()
        times.append((time.perf_counter() - began) / calls)
    return statistics.median(times[1:])
