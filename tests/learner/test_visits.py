"""What events do to the statistics of their tasks: the definitions, however the stream is cut."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from streammeta.evaluation.prequential import Windowed
from streammeta.learner.folding import Means
from streammeta.learner.visits import TASK_BLOCK, TASK_FADING, TOGETHER, Visits, visited
from streammeta.state.task_table import TaskTable

EVENTS = 400


def stream(
    seed: int, tasks: int
) -> tuple[list[int], list[int], np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    """Slots, some far more often than others; times; what was judged, some of it unknown."""
    random = np.random.default_rng(seed)
    slots = np.minimum(random.geometric(0.04, EVENTS) - 1, tasks - 1).tolist()
    judged = random.lognormal(size=(EVENTS, len(Means._fields)))
    judged[random.random(judged.shape) < 0.1] = np.nan
    judged[random.random(judged.shape) < 0.05] = np.inf
    return slots, random.integers(-9, 10**12, EVENTS).tolist(), judged


def folded(cuts: Sequence[int], seed: int, tasks: int) -> tuple[TaskTable, Visits]:
    """The stream, cut there."""
    slots, times, judged = stream(seed, tasks)
    table, told = TaskTable(), []
    table.grow(tasks)
    for begin, end in zip((0, *cuts), (*cuts, EVENTS), strict=True):
        part = slice(begin, end)
        told.append(visited(table, slots[part], times[part], judged[part], begin + 1))
    return table, Visits(*map(np.concatenate, zip(*told, strict=True)))


@pytest.mark.parametrize("tasks", [1, TOGETHER, 60])
def test_how_the_stream_is_cut_changes_no_bit(tasks: int) -> None:
    """One chunk, event by event, and cut at random: the same bits in the table and in what is told."""
    at_random = sorted(np.random.default_rng(tasks).choice(np.arange(1, EVENTS), 9, replace=False).tolist())
    table, told = folded((), 7, tasks)
    for cuts in (range(1, EVENTS), at_random):
        other, other_told = folded(cuts, 7, tasks)
        assert other.words.tobytes() == table.words.tobytes()
        assert [column.tobytes() for column in other_told] == [column.tobytes() for column in told]


@pytest.mark.parametrize("tasks", [3, 60])
def test_every_statistic_is_its_definition(tasks: int) -> None:
    """Counts, last visits, weighted means and windows of each task, from its own events alone."""
    slots, times, judged = stream(11, tasks)
    table, told = folded((), 11, tasks)
    for slot in set(slots):
        own = [number for number, other in enumerate(slots) if other == slot]
        stats = table[slot]
        assert (stats.events, stats.last_event, stats.last_seen_ms) == (len(own), own[-1] + 1, times[own[-1]])
        assert told.counts[own].tolist() == [*range(1, len(own) + 1)]
        np.testing.assert_array_equal(told.staleness[own], [math.nan, *np.diff(own)])
        means = np.full(len(Means._fields), np.nan)
        for visit, values in enumerate(judged[own]):
            for column, value in enumerate(values):
                values_before = visit - (Means._fields[column] in LATER)
                if math.isfinite(value):
                    begins = values_before <= 0 or math.isnan(means[column])
                    weight = sum(TASK_FADING**age for age in range(values_before + 1))
                    means[column] = value if begins else means[column] + (value - means[column]) / weight
        kept = [getattr(stats, name) for name in KEPT]
        np.testing.assert_allclose(kept, np.delete(means, 3), rtol=1e-9)
        for column, window in enumerate(stats.windows):
            expected = Windowed()
            for value in judged[own, column].tolist():
                expected = expected.fold(value, block=TASK_BLOCK, blocks=1)
            assert window == expected.blocks
        np.testing.assert_equal(told.losses[own[-1]], stats.loss)


LATER = ("memory", "accuracy_memory", "loss_earlier", "forgetting")
KEPT = (
    *("loss_meta", "loss_adapted", "loss_memory"),
    *("accuracy_meta", "accuracy_adapted", "accuracy_memory", "loss_earlier", "forgetting"),
)
