"""A chunk that was learned, as columns: what it did, from the numbers that its steps left in the tables."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from streammeta.evaluation.drift import Detection
from streammeta.evaluation.forgetting import Recalled
from streammeta.evaluation.prequential import NOT_RECALLED
from streammeta.events import TaskEvent
from streammeta.learner.chunk import Placed
from streammeta.learner.drifting import Drifting
from streammeta.learner.executors.chunk import NUMBERS
from streammeta.learner.folding import Numbers, fold_stream
from streammeta.learner.visits import Visits, visited
from streammeta.state.memories import Memories
from streammeta.state.progress import Progress

_JUDGED = [NUMBERS.index(name) for name in ("loss_meta", "loss_adapted", "loss_memory", "tracking_error")]


class Applied(NamedTuple):
    """An event that was learned; how its task recalled an earlier one; its meta-update's rate; drift."""

    placed: Placed
    recalled: Recalled
    meta_rate: float
    drift: Detection | None = None


class Folded(NamedTuple):
    """What a chunk did, an element or a row an event, in the order in which they were learned.

    Attributes:
        events: What was learned from.
        progress: How far the stream was learned, the chunk included.
        numbers: `NUMBERS` of each, (events, 7).
        meta_rates: The rate of each one's meta-update.
        judged: Losses, tracking error, accuracies and recalled losses, columns as `folding.Means`.
        means: The same, as the fading means over the stream then.
        visits: What it did to their tasks.
        drifts: Tasks that got worse, and the stream, in the order of events.
        predictions: Of their query sets before they were learned from, (3, examples, …): at w, after one
            adaptation, at the task's memory; none unless asked for.
    """

    events: Sequence[TaskEvent]
    progress: Progress
    numbers: Numbers
    meta_rates: Numbers
    judged: Numbers
    means: Numbers
    visits: Visits
    predictions: Sequence[Tensor]
    drifts: Sequence[Detection]

    def column(self, name: str) -> Numbers:
        """One of `NUMBERS`."""
        return self.numbers[:, NUMBERS.index(name)]


def fold(
    learned: Sequence[Applied],
    before: Progress,
    memories: Memories,
    *,
    classes: bool,
    drifting: Drifting | None = None,
) -> Folded:
    """Fold the events, at least one, into the statistics of their tasks, and of the stream.

    `classes`: the model is a classifier, so accuracies are known. `drifting`: None: not looked for.
    """
    placed = [one.placed for one in learned]
    numbers, accuracies, predictions = _numbers(placed, classes)
    recalled = np.full((len(learned), len(Recalled._fields)), np.nan)
    if any(one.recalled is not NOT_RECALLED for one in learned):
        recalled[:] = [one.recalled for one in learned]
    judged = np.concatenate([numbers[:, _JUDGED], accuracies, recalled], axis=1)
    prequential, means = fold_stream(before.prequential, judged)
    slots, times_ms = [one.slot for one in placed], [one.event.time_ms for one in placed]
    visits = visited(memories.stats, slots, times_ms, judged, before.events + 1)
    drift, drifts = before.drift, [one.drift for one in learned if one.drift is not None]
    if drifting is not None:
        drift, of_stream = drifting.of_stream(drift, judged, before.events + 1)
        drifts = sorted([*drifts, *of_stream], key=lambda one: one.event)
    return Folded(
        [one.event for one in placed],
        Progress(before.events + len(placed), prequential, drift),
        numbers,
        np.array([one.meta_rate for one in learned]),
        judged,
        means,
        visits,
        predictions,
        drifts,
    )


def _numbers(learned: Sequence[Placed], classes: bool) -> tuple[Numbers, Numbers, list[Tensor]]:
    """`NUMBERS`, accuracies and predictions of each event, from the columns of its group."""
    numbers = np.empty((len(learned), len(NUMBERS)))
    accuracies = np.full((len(learned), 3), np.nan)
    predicted: dict[int, Tensor] = {}
    by_group: dict[int, list[int]] = {}
    for number, placed in enumerate(learned):
        by_group.setdefault(id(placed.group), []).append(number)
    for at in by_group.values():
        group, places = learned[at[0]].group, [learned[number].place for number in at]
        numbers[at] = group.numbers_at(places)
        if group.predictions is not None:
            predicted.update(zip(at, group.predictions[places], strict=True))
        if classes:
            accuracies[at] = group.accuracies(places)
    return numbers, accuracies, [predicted[at] for at in sorted(predicted)]
