"""A group's state read as one: as `reshard` would write it for a single process, and nothing is written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from heapq import merge as merged
from pathlib import Path
from typing import Final

from streammeta.algorithms.base import Merge
from streammeta.distributed.resharding import parts
from streammeta.distributed.resharding.plan import Plan, gathered, sizes
from streammeta.distributed.resharding.sources import Former, opened
from streammeta.distributed.resharding.unison import Unison, united
from streammeta.errors import StateError
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.store import Meta, TaskRow, TaskStats

TRIES: Final = 5
"""Ranks are read one after the other: while they learn, a round may end between two of them."""

MergeOf = Callable[[Checkpoint], Merge | str]
"""How states of a checkpoint's algorithm unite."""


class AsOne:
    """The last commits of all ranks; as an `LmdbSnapshot`, as far as readers ask."""

    def __init__(self, origins: Sequence[Former], plan: Plan, unison: Unison) -> None:
        self._origins, self._plan = origins, plan
        self._meta = parts.meta(origins, plan, unison, 0)
        self._counters = [plan.counters(origins, old, 0) for old in range(len(origins))]

    @property
    def number(self) -> int:
        """Higher after a commit of any rank."""
        return sum(origin.snapshot.number for origin in self._origins)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The meta state."""
        return unpack(self._meta)

    def load(self) -> Meta:
        """The same as bytes; each rank has curves of its own, of which these are rank 0's."""
        return replace(self._meta, history=self._origins[0].history)

    def constants(self) -> bytes:
        """As `LmdbSnapshot.constants`."""
        return self._origins[0].snapshot.constants()

    def get(self, task: str) -> TaskRow | None:
        """One task; None when no rank knows it."""
        for origin, counters in zip(self._origins, self._counters, strict=True):
            row = origin.snapshot.get(task)
            if row is not None:
                return counters.row(row)
        return None

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, by id in byte order."""
        yield from merged(*map(self._stats, range(len(self._origins))), key=lambda each: each[0].encode())

    def _stats(self, old: int) -> Iterator[tuple[str, TaskStats]]:
        counters = self._counters[old]
        for task, stats in self._origins[old].snapshot.stats():
            yield task, counters.row(TaskRow(stats, b"")).stats

    def verify(self) -> int:
        """Read every value of all ranks; how many there are.

        Raises:
            StateError: something is damaged, named.
        """
        return sum(origin.snapshot.verify() for origin in self._origins)

    def count(self) -> int:
        """How many tasks are known."""
        return sum(origin.snapshot.count() for origin in self._origins)


@contextmanager
def read_as_one(base: Path, merge_of: MergeOf) -> Iterator[AsOne]:
    """A group's state, also while it learns.

    Raises:
        StateError: the ranks' states do not belong together, or something is damaged.
    """
    for left in reversed(range(TRIES)):
        with opened(base, held=False) as origins:
            try:
                whole = as_one(origins, merge_of)
            except StateError:
                if not left:
                    raise
                continue
            yield whole
            return


def as_one(origins: Sequence[Former], merge_of: MergeOf) -> AsOne:
    """These ranks.

    Raises:
        StateError: they do not belong together.
    """
    before, _ = sizes(origins, 1, None)
    unison = united(origins, merge_of(origins[0].checkpoint))
    return AsOne(origins, gathered(origins, before), unison)
