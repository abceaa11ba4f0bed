"""The worst tasks of a stream of any number of tasks, in bounded memory.

Invariant: a fold costs one dictionary write, whatever the number of tasks; the search is paid by the reader.
"""

import heapq
import math
from collections.abc import Iterator
from itertools import islice

from streammeta.observe.catalogue import OTHER


class TaskLosses:
    """The last known losses of the tasks seen most recently.

    At most `capacity` are remembered: when one more comes, the quarter seen longest ago is forgotten, however
    bad those were; a forgotten task is back with its next event. A task that is itself called `__other__`
    counts among the others, so that no two series share a label.
    """

    def __init__(self, *, capacity: int = 10_000, worst: int = 20) -> None:
        self._capacity = capacity
        self._worst = worst
        self._losses: dict[str, float] = {}

    def fold(self, task: str, loss: float) -> None:
        """Remember the task's loss; a NaN (nothing known) changes nothing."""
        if math.isnan(loss):
            return
        self._losses.pop(task, None)  # so that it moves to the end: the dictionary is ordered by last visit
        self._losses[task] = loss
        if len(self._losses) > self._capacity:
            forgotten = self._capacity // 4 + 1
            self._losses = dict(islice(self._losses.items(), forgotten, None))

    def forget(self, task: str) -> None:
        """Tell nothing of the task any more."""
        self._losses.pop(task, None)

    def read(self) -> Iterator[tuple[str, float]]:
        """The worst tasks, worst first, then `__other__` with the mean of the rest if there is a rest.

        Callable from any thread: works on one copy. A few milliseconds at full capacity.
        """
        losses = self._losses.copy()
        others = [losses.pop(OTHER)] if OTHER in losses else []
        worst = heapq.nlargest(self._worst, losses.items(), key=lambda item: item[1])
        yield from worst
        for task, _ in worst:
            del losses[task]
        others.extend(losses.values())
        if others:
            yield OTHER, math.fsum(others) / len(others)
