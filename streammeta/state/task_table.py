"""Statistics of tasks as columns, so that those of a whole chunk are folded, and packed, at once.

A row is a slot: the words of 8 bytes of which `rows.pack_stats` makes its first 192 bytes, integers among
the floats. What few tasks have, a reset and a series watched for drift, lies beside it.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streammeta.evaluation.drift import BEGUN, Series
from streammeta.state.rows import KNOWN_BYTES, pack_known, unpack_stats
from streammeta.state.store import TaskStats

WORDS: Final = KNOWN_BYTES // 8
EVENTS, LAST_EVENT, LAST_SEEN_MS = range(3)
"""Words that hold integers; the counts of the windows do, too."""
LOSS_META, LOSS_ADAPTED, LOSS_MEMORY, MEMORY_NORM = range(3, 7)
MEANS: Final = (3, 4, 5, *range(7, 12))
"""Losses, accuracies, losses on earlier query sets and their rise: as `Means`, the fourth left out."""
WINDOWS: Final = 12
"""From here on: (window, block, (sum, count))."""

Words = NDArray[np.float64]


class TaskTable:
    """`TaskStats` by slot, read and replaced as such, or as columns.

    Attributes:
        words: Shape (slots, `WORDS`); another array when there are more slots.
        reset_after: `TaskStats.reset_after` by slot.
        drift: `TaskStats.drift` by slot, where losses were watched.
    """

    def __init__(self, stats: Sequence[TaskStats] = ()) -> None:
        self.words: Words = np.empty((0, WORDS))
        self.reset_after: NDArray[np.int64] = np.empty(0, np.int64)
        self.drift: dict[int, Series] = {}
        self.grow(len(stats))
        for slot, one in enumerate(stats):
            self[slot] = one

    def __len__(self) -> int:
        """Slots."""
        return len(self.words)

    def __getitem__(self, slot: int) -> TaskStats:
        """The statistics there; 5 µs."""
        known = unpack_stats(self.words[slot].tobytes())
        return known._replace(reset_after=int(self.reset_after[slot]), drift=self.drift.get(slot, BEGUN))

    def __setitem__(self, slot: int, stats: TaskStats) -> None:
        """Replace them; cheap with `NEW`."""
        self.words[slot] = _NEW_WORDS if stats is NEW else np.frombuffer(pack_known(stats))
        self.reset_after[slot] = stats.reset_after
        self.drift.pop(slot, None)
        if stats.drift is not BEGUN:
            self.drift[slot] = stats.drift

    def grow(self, more: int) -> None:
        """More slots, of tasks never seen."""
        self.words = np.concatenate([self.words, np.tile(_NEW_WORDS, (more, 1))])
        self.reset_after = np.concatenate([self.reset_after, np.zeros(more, np.int64)])

    def events(self, slot: int) -> int:
        """Events of the task there."""
        return int(integers(self.words)[slot, EVENTS])

    def remembered(self, slot: int) -> int:
        """`TaskStats.remembered`."""
        return self.events(slot) - int(self.reset_after[slot])

    def begin_anew(self, slot: int, visits: int) -> None:
        """The memory there, which was made of so many events, is as one never made."""
        self.reset_after[slot] += visits
        self.words[slot, MEMORY_NORM] = 0.0


def integers(words: Words) -> NDArray[np.int64]:
    """The same words as integers."""
    return words.view(np.int64)


NEW: Final = TaskStats()
"""Those of a task never seen."""
_NEW_WORDS: Final = np.frombuffer(pack_known(NEW))
