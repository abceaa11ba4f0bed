"""What the events of a chunk do to the statistics of their tasks, which lie in columns.

The first visits of all tasks are folded together, then the second ones, and so on; once few tasks are left,
their further visits one by one, which is then cheaper. Either does the same operations on the same 64-bit
floats, so the bits do not depend on how the stream was cut into chunks.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streammeta.learner.folding import Numbers
from streammeta.state.task_table import (
    EVENTS,
    LAST_EVENT,
    LAST_SEEN_MS,
    LOSS_ADAPTED,
    LOSS_MEMORY,
    LOSS_META,
    MEANS,
    WINDOWS,
    TaskTable,
    Words,
    integers,
)

Places = NDArray[np.int64]

TASK_FADING: Final = 0.9
"""Weight that a task's own fading means keep per visit: about its last 10 visits count."""
TASK_BLOCK: Final = 10
"""Visits in a block of a task's own windows: they span its last 10 to 20."""
TOGETHER: Final = 12
"""Fewest visits that are folded together."""

_MOST: Final = 1000
"""Values beyond which a weight no longer grows."""
_WEIGHTS: Final = [math.nan, *((1 - TASK_FADING**n) / (1 - TASK_FADING) for n in range(1, _MOST + 1))]
"""Weight of n values: (1 − λⁿ)/(1 − λ)."""
_WEIGHT_COLUMN: Final = np.array(_WEIGHTS)
_JUDGED: Final = (0, 1, 2, 4, 5, 6, 7, 8)
"""The columns of what was judged that belong to `MEANS`."""
_LATER: Final = (0, 0, 1, 0, 0, 1, 1, 1)
"""Visits before the first that knows each of them: a first visit has no memory to judge."""
_KINDS: Final = (*zip(MEANS, _JUDGED, _LATER, strict=True),)


class Visits(NamedTuple):
    """What the events of a chunk did to their tasks, by event.

    Attributes:
        counts: Events of the task, this one included.
        staleness: Events learned since the task was last seen; NaN at its first visit.
        losses: The task's loss after it, a fading mean.
    """

    counts: Places
    staleness: Numbers
    losses: Numbers


def visited(
    stats: TaskTable, slots: Sequence[int], times_ms: Sequence[int], judged: Numbers, first_event: int
) -> Visits:
    """Fold each event into the statistics of its task, which lie at its slot.

    Costs some 70 µs for each turn of visits that are folded together, and 5 µs a visit that is not.
    `memory_norm` is brought up to date when the row is written.

    Args:
        stats: Statistics by slot; changed.
        slots: Of the tasks, by event.
        times_ms: Event times.
        judged: By event, columns as `Means`: NaN where a value is unknown.
        first_event: Index of the first one among all events learned, counted from 1.
    """
    at, times = np.array(slots, np.int64), np.array(times_ms, np.int64)
    visits = Visits(np.empty(len(at), np.int64), np.empty(len(at)), np.empty(len(at)))
    for turn in _turns(at):
        events = turn + first_event
        before = stats.words[at[turn]]
        visits.counts[turn] = integers(before)[:, EVENTS] + 1
        visits.staleness[turn] = _staleness(before, events)
        if len(turn) >= TOGETHER:
            after = _visited_together(before, events, times[turn], judged[turn])
        else:
            each = zip(before, events.tolist(), times[turn].tolist(), judged[turn].tolist(), strict=True)
            after = np.array([_visited(*one) for one in each])
        stats.words[at[turn]] = after
        visits.losses[turn] = _losses(after)
    return visits


def _turns(slots: Places) -> Iterator[Places]:
    """The places of all first visits, in their order, of all second ones, and so on."""
    by_slot = np.argsort(slots, kind="stable")
    begins = np.flatnonzero(np.diff(slots[by_slot], prepend=-1))
    nth = np.empty(len(slots), np.int64)
    nth[by_slot] = np.arange(len(slots)) - np.repeat(begins, np.diff(begins, append=len(slots)))
    by_turn = np.argsort(nth, kind="stable")
    ends = np.cumsum(np.bincount(nth))[:-1]
    yield from np.split(by_turn, ends)


def _staleness(words: Words, events: Places) -> Numbers:
    whole = integers(words)
    return np.where(whole[:, EVENTS] > 0, events - whole[:, LAST_EVENT], math.nan)


def _losses(words: Words) -> Numbers:
    memory = words[:, LOSS_MEMORY]
    return np.where(np.isnan(memory), words[:, LOSS_ADAPTED], memory)


def _visited_together(words: Words, events: Places, times_ms: Places, judged: Numbers) -> Words:
    """Rows of different tasks after one more visit each; those given are changed."""
    whole = integers(words)
    with np.errstate(all="ignore"):
        words[:, MEANS] = _faded_together(words[:, MEANS], judged[:, _JUDGED], whole[:, EVENTS])
        _fill_windows(words[:, WINDOWS:].reshape(-1, 3, 2, 2), judged[:, :3])
    whole[:, EVENTS] += 1
    whole[:, LAST_EVENT], whole[:, LAST_SEEN_MS] = events, times_ms
    return words


def _faded_together(means: Numbers, values: Numbers, visits: Places) -> Numbers:
    """`faded` of each."""
    before = visits[:, None] - np.array(_LATER)
    moved = means + (values - means) / _WEIGHT_COLUMN[np.minimum(before + 1, _MOST)]
    first = (before <= 0) | np.isnan(means)
    return np.where(np.isfinite(values), np.where(first, values, moved), means)


def _fill_windows(blocks: Numbers, values: Numbers) -> None:
    """`_fill_window` of each; blocks (tasks, windows, 2, (sum, count)) are changed."""
    sums, counts = blocks[..., 0], blocks.view(np.int64)[..., 1]
    known, second = np.isfinite(values), counts[..., 1] > 0
    total, count = (np.where(second, each[..., 1], each[..., 0]) for each in (sums, counts))
    full, new = count >= TASK_BLOCK, np.where(count == 0, values, total + values)
    for block, (filled, otherwise) in enumerate([(~second, total), (second, values)]):
        shift = known & full
        grown = known & ~full & filled
        sums[..., block] = np.where(shift, otherwise, np.where(grown, new, sums[..., block]))
        shifted = count if block == 0 else 1
        counts[..., block] = np.where(shift, shifted, counts[..., block] + grown)


def _visited(words: Words, event: int, time_ms: int, values: Sequence[float]) -> Words:
    """A row after one more visit; it is changed."""
    whole = integers(words)
    numbers, counts = words.tolist(), whole.tolist()
    visits = counts[EVENTS]
    for word, column, later in _KINDS:
        numbers[word] = faded(numbers[word], values[column], visits - later)
    for window, value in enumerate(values[:3]):
        _fill_window(numbers, counts, WINDOWS + 4 * window, value)
    words[LOSS_META:WINDOWS], words[WINDOWS::2] = numbers[LOSS_META:WINDOWS], numbers[WINDOWS::2]
    whole[WINDOWS + 1 :: 2] = counts[WINDOWS + 1 :: 2]
    whole[:LOSS_META] = visits + 1, event, time_ms
    return words


def faded(mean: float, value: float, values_before: int) -> float:
    """The fading mean after one more value, from the number of values before it.

    The weight of n values is N = (1 − λⁿ)/(1 − λ), and the mean moves by (x − mean)/N. A value that is not
    finite (unknown, or overflowed) moves nothing.

    >>> math.isclose(faded(2.0, 4.0, 1), (4 + TASK_FADING * 2) / (1 + TASK_FADING))
    True
    """
    if not math.isfinite(value):
        return mean
    if values_before <= 0 or mean != mean:
        return value
    return mean + (value - mean) / _WEIGHTS[min(values_before + 1, _MOST)]


def _fill_window(numbers: list[float], counts: list[int], at: int, value: float) -> None:
    """A task's window after one more value, `Windowed.fold` with two blocks; its words begin at `at`."""
    if not math.isfinite(value):
        return
    place = at + 2 if counts[at + 3] else at
    if counts[place + 1] >= TASK_BLOCK:
        numbers[at], counts[at + 1] = numbers[place], counts[place + 1]
        numbers[at + 2], counts[at + 3] = value, 1
        return
    numbers[place] = numbers[place] + value if counts[place + 1] else value
    counts[place + 1] += 1
