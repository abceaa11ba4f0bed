"""`tasks`: whether an event costs more, and memory grows, with the number of tasks that are known.

The daemon with a cache of 10,000 tasks, on states that know 1,000 tasks and many, drawn uniformly and by
Zipf's law; records come from memory. Each run has a process of its own, and goes on where the last one ended.
"""

import resource
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.daemons import configured, daemon, generated
from streammeta.benchmarks.known_tasks import fill
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Measure, Rounds, turns

ZIPF: Final = 1.1


class Scale(NamedTuple):
    """Few and many tasks; tasks in RAM; events of a run, before the clock, between checkpoints; rounds."""

    few: int
    many: int
    cache: int
    events: int
    warm: int
    checkpoint: int
    rounds: int


SCALES: dict[Size, Scale] = {
    "small": Scale(10, 100, 20, 60, 20, 20, 1),
    "usual": Scale(1000, 100_000, 10_000, 30_000, 15_000, 1000, 3),
    "full": Scale(1000, 1_000_000, 10_000, 30_000, 15_000, 1000, 5),
}


def tasks(plan: Plan) -> Iterator[Row]:
    """Microseconds an event and peak resident memory of each; time with many tasks over that with few."""
    few, many, *_ = scale = SCALES[plan.size]
    names = {
        f"{few:,} tasks": (few, "uniform"),
        f"{many:,} tasks, uniform": (many, "uniform"),
        f"{many:,} tasks, Zipf({ZIPF})": (many, "zipf"),
    }
    peaks: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for known in (few, many):
            fill(configured(f"{folder}/{known}", "off"), known)
        stands = {few: 0, many: 0}

        def run(name: str, known: int, draws: str) -> float:
            result = apart(
                __name__,
                "learn",
                folder=f"{folder}/{known}",
                executor=plan.executor,
                first=stands[known],
                known=known,
                draws=draws,
                scale=scale,
            )
            stands[known] += scale.events
            peaks[name].append(result["peak_bytes"])
            return float(result["seconds"])

        measures: dict[str, Measure] = {name: partial(run, name, *how) for name, how in names.items()}
        measured = turns(measures, plan.rounds or scale.rounds, uncounted=plan.uncounted)
    base = f"{few:,} tasks"
    for name, rounds in measured.items():
        yield rounds.row(f"event, {name}", "µs", 1e6, f"cache {scale.cache:,}")
    for name, found in peaks.items():
        yield Rounds(tuple(found)).row(f"peak resident memory, {name}", "MB", 1e-6)
    for name, rounds in measured.items():
        if name != base:
            yield rounds.over(measured[base]).row(f"event, {name} / {base}", "ratio")


def learn(
    folder: str, executor: str, first: int, known: int, draws: str, scale: tuple[int, ...]
) -> dict[str, float]:
    """Go on with the state: seconds an event, and this process's peak resident memory."""
    _, _, cache, events, warm, checkpoint, _ = scale
    drawn = drawn_tasks(known, events, draws, seed=first)
    source = generated(events, lambda number: b"task-%d" % drawn[number], first)
    marks = daemon(
        Path(folder),
        executor,
        [f"state.cache_tasks={cache}", f"state.checkpoint_events={checkpoint}"],
        source,
    )
    return {"seconds": marks.event_seconds(warm), "peak_bytes": peak_bytes()}


def drawn_tasks(known: int, events: int, draws: str, seed: int) -> list[int]:
    """The tasks of so many events; by Zipf's law the k-th of them comes in proportion to 1 / k^1.1."""
    random = np.random.default_rng(seed)
    if draws == "uniform":
        return [*map(int, random.integers(known, size=events))]
    weights = 1 / np.arange(1, known + 1) ** ZIPF
    return [*map(int, random.choice(known, size=events, p=weights / weights.sum()))]


def peak_bytes() -> int:
    """Peak resident memory of this process; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
