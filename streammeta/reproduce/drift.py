"""Tasks that jump at known visits: how soon that is noticed, how often wrongly, what a restart does.

Tasks are linear maps of two numbers with noise; at a visit of its own each is turned round and doubled. The
visits go through the daemon's engine, 32 tasks an iteration. No paper's experiment: the defaults of `[drift]`
were chosen by it.
"""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import sgd
from streammeta.evaluation.drift import Detection, Settings
from streammeta.events import TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.learner.folding import Means
from streammeta.learner.tracing import Steps
from streammeta.models.loading import load_network
from streammeta.reproduce.report import Curve, Measured, Panel, Progress, Report, Row
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress as Learned

TASKS: Final = 128
VISITS: Final = 140
TOGETHER: Final = 32
SOON: Final = 30
"""Visits after a jump within which it is to be found."""
FIRST_JUMP: Final = 80
BEFORE, AFTER = 5, 25
"""Visits around a jump that are drawn."""
BETA: Final = 0.1
SEEDS: Final = 3
METHODS: Final[dict[str, Settings | None]] = {
    "off": None,
    "page_hinkley, restart_memory": Settings("page_hinkley", restart=True),
    "adwin, restart_memory": Settings("adwin", restart=True),
}

Numbers = NDArray[np.float64]


class Found(NamedTuple):
    """A detection, and the visit of its task (from 0) that told; of the stream, that of the last task."""

    detection: Detection
    visit: int


@dataclass
class Run:
    """What came of one stream.

    Attributes:
        jumps: The visit (from 0) from which each task is another one.
        losses: At the task's memory before each visit is learned from, (tasks, visits).
        found: In their order.
    """

    jumps: NDArray[np.int64]
    losses: Numbers
    found: list[Found] = field(default_factory=list)

    @property
    def false_alarms(self) -> int:
        """Detections of tasks that had not jumped."""
        return sum(one.visit < self.jumps[task] for task, one in self._of_tasks())

    @property
    def delays(self) -> dict[int, int]:
        """Task -> visits from its jump to its first detection; only those found soon."""
        delays: dict[int, int] = {}
        for task, one in self._of_tasks():
            delay = one.visit - int(self.jumps[task])
            if 0 <= delay < SOON:
                delays.setdefault(task, delay)
        return delays

    @property
    def around(self) -> Numbers:
        """The median loss over tasks, from `BEFORE` visits before their jumps to `AFTER` after."""
        rows = [self.losses[task, at - BEFORE : at + AFTER] for task, at in enumerate(self.jumps)]
        return np.asarray(np.nanmedian(rows, axis=0))

    def _of_tasks(self) -> Iterator[tuple[int, Found]]:
        return ((int(one.detection.task[1:]), one) for one in self.found if one.detection.task)


def drift(progress: Progress, *, seeds: int = SEEDS) -> Report:
    """Without a detector, and with each restarting memories, on the same streams."""
    torch.set_num_threads(1)
    rows, curves = [], []
    for method, settings in METHODS.items():
        runs = []
        for seed in range(seeds):
            progress(f"drift: {method}", seed, seeds)
            runs.append(run(settings, seed))
        progress(f"drift: {method}", seeds, seeds)
        rows.append(Row(method, f"β = {BETA}", tuple(_measures(runs))))
        curves.append(
            Curve(method, list(range(-BEFORE, AFTER)), np.mean([one.around for one in runs], 0).tolist())
        )
    return Report(
        "drift",
        f"{TASKS} tasks that jump, {VISITS} visits each, {seeds} seeds",
        (
            f"found in {SOON} visits",
            "delay, visits",
            "false alarms in 10,000",
            "loss 5 visits after",
            "10",
            "20",
        ),
        "sd over seeds",
        rows,
        [Panel("the median loss at the memory", "visits since the jump", "loss", curves, y_scale="log")],
        ("no published figure; the stream is our own",),
    )


def run(settings: Settings | None, seed: int, beta: float = BETA) -> Run:
    """One stream through the engine."""
    settings = None if settings is None else settings._replace(kept=1 - beta)
    network = load_network(
        "streammeta.models:mlp", {"sizes": [2, 1]}, loss="mse", seed=0, dtype="float64", device="cpu"
    )
    learner = moml(network.loss, sgd(), dimension=network.dimension, inner_lr=0.25, meta_lr=0.001, beta=beta)
    memories = Memories(
        lambda tasks: [None] * len(tasks), network.initial.new_zeros(learner.memory_size), TASKS
    )
    engine = Engine(
        network, Steps(learner, network), learner.init(network.initial), Learned(), memories, drift=settings
    )
    draws = np.random.default_rng(seed)
    jumps = draws.integers(FIRST_JUMP, VISITS - SOON, TASKS)
    done = Run(jumps, np.full((TASKS, VISITS), np.nan))
    for events in _iterations(draws, jumps):
        _learn(engine, events, done)
    return done


def _learn(engine: Engine, events: Sequence[TaskEvent], done: Run) -> None:
    """One iteration; an event's time is its task's visit."""
    placed, tasks = [engine.place(event) for event in events], [event.task for event in events]
    engine.load(tasks)
    engine.learn(placed)
    folded = engine.fold(tasks)
    if folded is None:
        raise AssertionError("an iteration was learned")
    for event, loss in zip(folded.events, folded.judged[:, Means._fields.index("memory")], strict=True):
        done.losses[int(event.task[1:]), event.time_ms] = loss
    first = folded.progress.events - len(events) + 1
    done.found += [Found(one, folded.events[one.event - first].time_ms) for one in folded.drifts]


def _iterations(draws: np.random.Generator, jumps: NDArray[np.int64]) -> Iterator[list[TaskEvent]]:
    angles = draws.uniform(0, 2 * np.pi, TASKS)
    maps = 1.5 * np.stack([np.cos(angles), np.sin(angles)], 1)
    for visit in range(VISITS):
        order = draws.permutation(TASKS).tolist()
        for begin in range(0, TASKS, TOGETHER):
            made = []
            for task in order[begin : begin + TOGETHER]:
                x = draws.normal(size=(2, 10, 2))
                sign = 1 if visit < jumps[task] else -2
                y = (sign * x @ maps[task] + 0.2 * draws.normal(size=(2, 10)))[..., None]
                made.append(TaskEvent(f"t{task}", episode_of(x[0], y[0], x[1], y[1]), visit))
            yield made


def _measures(runs: Sequence[Run]) -> Iterator[Measured]:
    """In the order of the report."""
    yield Measured.over([len(one.delays) / TASKS for one in runs])
    delays = [delay for one in runs for delay in one.delays.values()]
    yield Measured(statistics.median(delays) if delays else math.inf)
    yield Measured.over([1e4 * one.false_alarms / int(one.jumps.sum()) for one in runs])
    for visits in (5, 10, 20):
        yield Measured.over([float(one.around[BEFORE + visits]) for one in runs])
