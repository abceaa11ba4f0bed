"""`memory`: the daemon's resident memory over a long stream, and by algorithm.

Over the stream neither memory nor the time of an event may grow; the aim judges the processor time that the
process takes, which other programs move little. By algorithm, each in a process of its own
with traced steps: what an event costs and what a task keeps. What one update of a large network
needs, by inner steps, is counted by `streammeta reproduce memory`.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.daemons import Marks, configured, daemon, generated
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.tasks import peak_bytes
from streammeta.config.algorithms import NAMES
from streammeta.runtime.blueprint import build_blueprint

TASKS: Final = 1000
TENTHS: Final = 10
EVENTS: dict[Size, tuple[int, int]] = {
    "small": (100, 40),
    "usual": (200_000, 1000),
    "full": (1_000_000, 3000),
}
"""Of the long stream, and of each algorithm."""
INNER_STEPS: Final[tuple[tuple[str, int], ...]] = (("maml", 10), ("anil", 10), ("reptile", 10), ("imaml", 1))
"""Algorithms that are also measured at another number of steps than their default."""
TOGETHER: Final = ("nasa", "bspiderboost")
"""Algorithms that need several tasks in an iteration."""

_STATM = Path("/proc/self/statm")


def memory(plan: Plan) -> Iterator[Row]:
    """Megabytes over the stream, and of each algorithm; microseconds an event beside."""
    yield from _over_a_stream(plan)
    variants = [(name, (f"algorithm.name={name}",)) for name in NAMES] + [
        (f"{name}, {steps} steps", (f"algorithm.name={name}", f"algorithm.inner_steps={steps}"))
        for name, steps in INNER_STEPS
    ]
    for name, settings in variants[:1] if plan.size == "small" else variants:
        batched = ("events.batch=4",) if name in TOGETHER else ()
        found = apart(__name__, "algorithm", settings=[*settings, *batched], events=EVENTS[plan.size][1])
        yield Row(f"{name}: an event", 1e6 * found["seconds"], "µs")
        yield Row(f"{name}: kept per task", found["numbers"], "numbers")
        yield Row(f"{name}: peak resident memory", 1e-6 * found["peak_bytes"], "MB")


def _over_a_stream(plan: Plan) -> Iterator[Row]:
    events = EVENTS[plan.size][0]
    found = apart(__name__, "stream", executor=plan.executor, events=events)
    begin, end = found["resident_bytes"][1], found["resident_bytes"][-1]
    name = f"{events:,} events"
    yield Row(f"{name}: resident memory after 2 tenths", 1e-6 * begin, "MB")
    yield Row(f"{name}: resident memory at the end", 1e-6 * end, "MB")
    yield Row(f"{name}: resident memory, end / 2 tenths", end / begin, "ratio")
    for what, seconds in (("an event", found["seconds"]), ("processor time", found["processor_seconds"])):
        for tenth, taken in enumerate(seconds, start=1):
            yield Row(f"{name}: {what}, tenth {tenth}", 1e6 * taken, "µs")
        yield Row(f"{name}: {what}, last / 2nd tenth", seconds[-1] / seconds[1], "ratio")


def stream(executor: str, events: int) -> dict[str, list[float]]:
    """Seconds an event of each tenth, also of the processor's, and resident memory at its end."""
    resident: list[int] = []
    processor: list[float] = []

    def note() -> None:
        resident.append(resident_bytes())
        processor.append(time.process_time())

    marks = Marks(note)
    settings = [f"state.checkpoint_events={max(1, min(1000, events // TENTHS))}"]
    with tempfile.TemporaryDirectory() as folder:
        daemon(folder, executor, settings, generated(events, _task), marks)
    ends = [
        next(number for number, mark in enumerate(marks.checkpoints) if mark[1] >= tenth * events // TENTHS)
        for tenth in range(TENTHS + 1)
    ]
    at = [(*marks.checkpoints[number], processor[number]) for number in ends]
    return {
        "seconds": [(one[0] - other[0]) / (one[1] - other[1]) for other, one in pairwise(at)],
        "processor_seconds": [(one[2] - other[2]) / (one[1] - other[1]) for other, one in pairwise(at)],
        "resident_bytes": [float(resident[number]) for number in ends[1:]],
    }


def algorithm(settings: Sequence[str], events: int) -> dict[str, float]:
    """Seconds an event, numbers kept per task, peak resident memory of the daemon."""
    with tempfile.TemporaryDirectory() as folder:
        own = [*settings, "state.checkpoint_events=20"]
        marks = daemon(folder, "off", own, generated(events, _task))
        kept = build_blueprint(configured(folder, "off", own)).learner.memory_size
    return {"seconds": marks.event_seconds(events // 4), "numbers": kept, "peak_bytes": peak_bytes()}


def _task(number: int) -> bytes:
    return b"task-%d" % (number * 7919 % TASKS)


def resident_bytes() -> int:
    """Resident memory of this process now; where the system does not tell, its peak so far."""
    if not _STATM.exists():
        return peak_bytes()
    return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
