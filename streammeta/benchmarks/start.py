"""`start`: seconds from the start of the process to the first event learned, with many known tasks.

The daemon's own process, imports included, compiled steps in the cache, records from the broker.
"""

import tempfile
import time
from collections.abc import Iterator
from typing import Final

from streammeta.benchmarks.apart import apart
from streammeta.benchmarks.brokers import append, broker, new_topic, reads
from streammeta.benchmarks.daemons import configured, daemon
from streammeta.benchmarks.known_tasks import fill
from streammeta.benchmarks.rows import Plan, Row, Size, absent
from streammeta.benchmarks.turns import Rounds
from streammeta.errors import BrokerUnavailable

KNOWN: dict[Size, tuple[int, int]] = {"small": (10, 100), "usual": (1000, 100_000), "full": (1000, 1_000_000)}
ROUNDS: dict[Size, int] = {"small": 1, "usual": 5, "full": 5}
PARTS: Final = ("state opened", "connected, page ready", "first event learned")


def start(plan: Plan) -> Iterator[Row]:
    """Seconds from the start of the process until each of `PARTS`, with few tasks and with many."""
    try:
        with broker(plan) as served, tempfile.TemporaryDirectory() as folder:
            for known in KNOWN[plan.size]:
                taken = _starts(plan, served.servers, f"{folder}/{known}", known)
                for part, figures in zip(PARTS, zip(*taken, strict=True), strict=True):
                    yield Rounds(figures).row(f"{known:,} tasks, {part}", "s", 1.0, served.name)
    except BrokerUnavailable as error:
        yield absent("start", "s", str(error))


def _starts(plan: Plan, servers: str, folder: str, known: int) -> list[tuple[float, ...]]:
    """One after the other on the same state; the first, which may have to compile, is not counted."""
    topic, taken = new_topic(servers, 0), []
    settings = [*reads(servers, topic), "state.checkpoint_events=1"]
    fill(configured(folder, plan.executor, settings), known)
    for _ in range(plan.rounds_of(ROUNDS) + plan.uncounted):
        append(servers, topic, 1)
        began = time.perf_counter()
        parts = apart(__name__, "first_event", folder=folder, executor=plan.executor, settings=settings)
        taken.append(tuple(part - began for part in parts))
    return taken[plan.uncounted :]


def first_event(folder: str, executor: str, settings: list[str]) -> list[float]:
    """When each of `PARTS` was reached, on the clock that processes share."""
    marks = daemon(folder, executor, settings)
    learned = next(seconds for seconds, events in marks.checkpoints if events)
    return [marks.opened, marks.checkpoints[0][0], learned]
