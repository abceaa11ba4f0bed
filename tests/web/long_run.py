"""Three hours of history and ten thousand tasks, simulated: what a page must bear."""

import math
import random

from streammeta.evaluation.prequential import Prequential
from streammeta.observe.history import History
from streammeta.observe.task_index import TaskIndex
from streammeta.outcomes import Observer, Outcome
from tests.observe.outcomes import Clock, checkpointed, learned, turned

TASKS = 10_000
SECONDS = 3 * 3600
EVENTS_PER_SECOND = 1


def simulate(clock: Clock, history: History, tasks: TaskIndex, *others: Observer) -> None:
    """Let the time pass: losses that fall and scatter, every task seen at least once."""
    draws = random.Random(3)
    means = Prequential()
    number = 0
    observers: tuple[Observer, ...] = (history, tasks, *others)
    for second in range(SECONDS):
        for _ in range(EVENTS_PER_SECOND):
            number += 1
            clock.seconds += 1 / EVENTS_PER_SECOND
            loss = (0.3 + 4 * math.exp(-number / 20_000)) * draws.expovariate(1.0)
            means = means.fold(1.8 * loss, loss, 0.6 * loss, 0.2 + 0.1 * draws.random())
            outcome = learned(
                task=f"customer-{number % TASKS:05}",
                events=number,
                task_events=number // TASKS + 1,
                loss_meta=1.8 * loss,
                loss_adapted=loss,
                loss_memory=0.6 * loss,
                task_loss=0.6 * loss,
                gradient_norm=5 * draws.random() + 0.1,
                prequential=means,
            )
            for observer in observers:
                observer(outcome)
        heard: list[Outcome] = [turned(lag=[int(50 * draws.random())])]
        for each in [*heard, checkpointed(at=clock.seconds)] if second % 5 == 0 else heard:
            for observer in observers:
                observer(each)
