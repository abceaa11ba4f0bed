"""Counts that are parted or added up, and numbers that say when something was: each rank counts for itself.

A rank's counter of events, or of records, is the clock of its state: a task's last event, an example's wait,
an id's age are differences of it. Counts of all ranks add up to what they were. An age becomes the part of it
that the new counter is of the old one, and never grows, so that nothing expires, and no id is forgotten, by a
move alone. [derived]
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from streammeta.evaluation.drift import Series
from streammeta.evaluation.prequential import Fading, Prequential, Windowed, Windows
from streammeta.state.buffers import pack_buffer, unpack_buffer
from streammeta.state.store import TaskRow, Waiting


def parted(total: int, weights: Sequence[int]) -> list[int]:
    """The total in whole parts that are as the weights; all in the first where there are none.

    >>> parted(10, [1, 1, 1]), parted(7, [0, 0]), parted(5, [2, 0, 3])
    ([3, 3, 4], [7, 0], [2, 0, 3])
    """
    whole = sum(weights)
    if not whole:
        return [total, *[0] * (len(weights) - 1)]
    ends = [total * end // whole for end in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(ends)]


class Counter(NamedTuple):
    """A counter as it stood where something comes from, and as it stands where that goes."""

    before: int
    after: int

    def moved(self, number: int) -> int:
        """The number of the same moment; 0 stays 0, which is none.

        >>> Counter(100, 25).moved(60), Counter(100, 400).moved(60), Counter(100, 100).moved(60)
        (15, 360, 60)
        """
        age = self.before - number
        if not number or age <= 0:
            return number and self.after - age
        return self.after - min(age, age * self.after // self.before)


class Counters(NamedTuple):
    """Those of one way that tasks go."""

    events: Counter
    records: Counter

    def series(self, series: Series) -> Series:
        """A series of losses whose last detection has the number of the same moment."""
        number = self.events.moved(series.last_event)
        return series if number == series.last_event else series._replace(last_event=number)

    def row(self, row: TaskRow) -> TaskRow:
        """A task's row; of its memory and its numbers but these no bit changes."""
        if all(counter.before == counter.after for counter in self):
            return row
        stats = row.stats
        waiting = row.waiting and Waiting(*map(self.records.moved, row.waiting))
        return TaskRow(
            stats._replace(last_event=self.events.moved(stats.last_event), drift=self.series(stats.drift)),
            row.memory,
            renumbered(row.buffer, self.records.moved),
            waiting,
        )


def renumbered(packed: bytes, number: Callable[[int], int]) -> bytes:
    """A packed buffer whose numbers of records are others."""
    if not packed:
        return packed
    buffer, samples = unpack_buffer(packed)
    halves = {name: half._replace(since=number(half.since)) for name, half in buffer.halves.items()}
    return pack_buffer(buffer._replace(halves=halves, since=number(buffer.since)), samples)


def blended(means: Sequence[Prequential], weights: Sequence[int]) -> Prequential:
    """The means over several streams, by what each brings; the very same where one alone brings anything."""
    shown = [(mean, weight) for mean, weight in zip(means, weights, strict=True) if weight]
    if len(shown) < 2:
        return shown[0][0] if shown else Prequential()
    whole = sum(weight for _, weight in shown)
    fading = {
        name: Fading(
            sum(getattr(mean, name).total * weight / whole for mean, weight in shown),
            sum(getattr(mean, name).weight * weight / whole for mean, weight in shown),
        )
        for name in Prequential._fields
        if name != "windows"
    }
    windows = (_pooled(columns) for columns in zip(*(mean.windows for mean, _ in shown), strict=True))
    return Prequential(windows=Windows(*windows), **fading)


def _pooled(windows: Sequence[Windowed]) -> Windowed:
    """Block by block, the newest with the newest."""
    depth = max(len(window.blocks) for window in windows)
    blocks = []
    for back in range(depth, 0, -1):
        met = [window.blocks[-back] for window in windows if len(window.blocks) >= back]
        blocks.append((sum(total for total, _ in met), sum(count for _, count in met)))
    return Windowed(tuple(blocks))
