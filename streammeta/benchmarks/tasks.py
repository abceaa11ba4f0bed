"""Whether cost grows with the number of known tasks: time per event and memory at 100 and at 100,000.

Each size runs in processes of its own, the sizes in turn, so that a drift of the machine hits both.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from streammeta.benchmarks.result import Result
from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Record
from streammeta.outcomes import Learned, Outcome
from streammeta.runtime.assembly import Brain, assemble, build_brain, restore
from streammeta.runtime.controls import Controls
from streammeta.sending.messages import messages
from streammeta.state.checkpoint import Checkpoint, pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.progress import Progress
from streammeta.state.store import TaskRow, TaskStats
from streammeta.stream.generated import GeneratedSource, NoDeadLetters

FEW, MANY = 100, 100_000
CACHE_TASKS = 10_000
EVENTS = 6000
ROUNDS = 3


def tasks() -> Iterator[Result]:
    """Microseconds per event and peak memory, with few and with many known tasks."""
    runs: dict[int, list[dict[str, float]]] = {FEW: [], MANY: []}
    for _ in range(ROUNDS):
        for known, results in runs.items():
            results.append(_run_apart(known))
    cost = {k: statistics.median(run["event_seconds"] for run in results) for k, results in runs.items()}
    for known, results in runs.items():
        peak = max(run["peak_bytes"] for run in results)
        yield Result(f"event, {known:,} known tasks, cache {CACHE_TASKS:,}", 1e6 * cost[known], "µs")
        yield Result(f"peak resident memory, {known:,} known tasks", peak / 2**20, "MiB")
    yield Result(f"event with {MANY:,} tasks / with {FEW:,}", cost[MANY] / cost[FEW], "ratio")


def _run_apart(known: int) -> dict[str, float]:
    command = [sys.executable, "-m", "streammeta.benchmarks.tasks", str(known)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)  # noqa: S603 (this module)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def measure(known: int) -> dict[str, float]:
    """In this process: learn from `EVENTS` events of random tasks out of `known` stored ones."""
    settings = ["outer.clip_norm=10.0", f"state.cache_tasks={CACHE_TASKS}"]
    config = load_config(None, settings, {})
    brain = build_brain(config)
    with (
        tempfile.TemporaryDirectory() as folder,
        StateDirectory(Path(folder)) as directory,
        closing(LmdbStore(directory.lmdb_path)) as store,
        closing(OrderLog(directory.order_log_path)) as log,
    ):
        _fill(store, brain, known)
        seconds = _learn(config, brain, store, log, known)
    return {"event_seconds": seconds, "peak_bytes": _peak_bytes()}


def _fill(store: LmdbStore, brain: Brain, known: int) -> None:
    """`known` tasks with memories of the right size, as if each had been seen once."""
    memory = brain.network.initial.numpy().tobytes()
    first = Checkpoint(brain.origin, brain.learner.init(brain.network.initial), Progress(known), {0: 0}, {})
    for begin in range(0, known, CACHE_TASKS):
        rows = {
            f"task-{i}": TaskRow(TaskStats(1, i + 1, 0, 1.0, 1.0, 1.0, 1.0), memory)
            for i in range(begin, min(known, begin + CACHE_TASKS))
        }
        store.commit(pack(first), rows)


def _records(known: int, offset: int) -> Iterator[Record]:
    draws = random.Random(known)  # noqa: S311 (a benchmark)
    stream = messages(sinusoid(Sinusoids(), start=offset), "msgpack")
    for number, message in enumerate(stream, offset):
        key = f"task-{draws.randrange(known)}".encode()
        headers = tuple((name, value) for name, value in message.headers)
        yield Record("tasks", 0, number, 0, key, message.value, headers)


def _learn(config: Config, brain: Brain, store: LmdbStore, log: OrderLog, known: int) -> float:
    """Seconds per event, checkpoints included, after the first third (trace, warm caches)."""
    learned_at: list[tuple[float, int]] = []
    controls = Controls()

    def watch(outcome: Outcome) -> None:
        if isinstance(outcome, Learned):
            learned_at.append((time.perf_counter(), outcome.events))
            controls.stop = outcome.events - known >= EVENTS

    made = _made(known)
    source = GeneratedSource(lambda offset: iter(made[offset:]), per_second=1e9)
    loop = assemble(
        config,
        brain,
        restore(brain, store),
        source=source,
        dead_letters=NoDeadLetters(),
        store=store,
        order_log=log,
        observers=[watch],
        controls=controls,
    )
    loop.run()
    began, first = next(at for at in learned_at if at[1] - known >= EVENTS // 3)
    return (time.perf_counter() - began) / (learned_at[-1][1] - first)


def _made(known: int) -> Sequence[Record]:
    """The records, made before the clock runs."""
    stream = _records(known, 0)
    return [next(stream) for _ in range(EVENTS + 1000)]


def _peak_bytes() -> int:
    """Peak resident memory of this process; Linux counts in KiB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
