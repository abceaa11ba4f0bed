"""Tasks that jump at known visits, through the engine: found soon, nearly all, with hardly a false alarm."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pytest

from streammeta.algorithms.moml import moml
from streammeta.algorithms.outer import sgd
from streammeta.evaluation.drift import Detection, Detector, Settings
from streammeta.events import TaskEvent, episode_of
from streammeta.learner.engine import Engine
from streammeta.learner.tracing import Steps
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress
from tests.learning import nothing_stored
from tests.networks import network

TASKS, VISITS, TOGETHER = 128, 140, 32
SOON = 30
"""Visits after the jump."""


class Jumping(NamedTuple):
    """A stream, iteration by iteration, and the visit (from 0) from which each task is another one."""

    iterations: Iterator[Sequence[TaskEvent]]
    jumps: np.ndarray


def jumping(seed: int) -> Jumping:
    """Linear maps of two numbers with noise; after visit 80 to 110 each has its sign turned."""
    draws = np.random.default_rng(seed)
    angles = draws.uniform(0, 2 * np.pi, TASKS)
    maps = 1.5 * np.stack([np.cos(angles), np.sin(angles)], 1)
    jumps = draws.integers(80, VISITS - SOON, TASKS)

    def event(task: int, visit: int) -> TaskEvent:
        x = draws.normal(size=(2, 5, 2))
        y = x @ maps[task] * (1 if visit < jumps[task] else -1) + 0.2 * draws.normal(size=(2, 5))
        return TaskEvent(f"t{task}", episode_of(x[0], y[0, :, None], x[1], y[1, :, None]), visit)

    def iterations() -> Iterator[Sequence[TaskEvent]]:
        for visit in range(VISITS):
            order = draws.permutation(TASKS)
            for begin in range(0, TASKS, TOGETHER):
                yield [event(task, visit) for task in order[begin : begin + TOGETHER].tolist()]

    return Jumping(iterations(), jumps)


def detected(detector: Detector, stream: Jumping) -> list[tuple[Detection, int]]:
    """What the engine tells, with the visit of the event that told."""
    made = network(args={"sizes": [2, 1]})
    learner = moml(made.loss, sgd(), dimension=made.dimension, inner_lr=0.1, meta_lr=0.01, beta=0.3)
    memories = Memories(nothing_stored, made.initial.new_zeros(learner.memory_size), TASKS)
    state, settings = learner.init(made.initial), Settings(detector)
    engine = Engine(made, Steps(learner, made), state, Progress(), memories, drift=settings)
    found = []
    for events in stream.iterations:
        placed = [engine.place(event) for event in events]
        tasks = [event.task for event in events]
        engine.load(tasks)
        engine.learn(placed)
        folded = engine.fold(tasks)
        assert folded is not None
        first = folded.progress.events - len(events) + 1
        found += [(one, folded.events[one.event - first].time_ms) for one in folded.drifts]
    return found


@pytest.mark.parametrize("detector", ["page_hinkley", "adwin"])
def test_jumps_are_found_soon_and_little_else(detector: Detector) -> None:
    """95 % of the tasks within 30 visits; at most one false alarm in over 10,000; the stream's too."""
    stream = jumping(11)
    found = detected(detector, stream)
    of_tasks = [(int(one.task[1:]), visit) for one, visit in found if one.task]
    early = [task for task, visit in of_tasks if visit < stream.jumps[task]]
    soon = {task for task, visit in of_tasks if 0 <= visit - stream.jumps[task] < SOON}
    assert stream.jumps.sum() > 10_000
    assert len(early) <= 1
    assert len(soon) >= 0.95 * TASKS
    of_stream = [visit for one, visit in found if not one.task]
    assert of_stream
    assert min(of_stream) >= stream.jumps.min()
    for one, _ in found:
        assert one.after > one.before
