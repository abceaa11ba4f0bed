"""The protocol of order logs, and the runs that are written to them."""

from collections.abc import Sequence
from typing import Protocol

from streammeta.events import OrderEntry, Positions, Record, Run


class OrderLog(Protocol):
    """Remembers in which order runs are applied, and cut, until a checkpoint contains them."""

    def append(self, entries: Sequence[OrderEntry]) -> None:
        """Hand the entries to the operating system."""

    def sync(self) -> None:
        """Put what was appended on the disk, so that a power cut takes none of it."""

    def insert(self, positions: Positions, entries: Sequence[OrderEntry]) -> None:
        """Hand over entries that come before all that `positions` does not contain."""

    def pending(self, positions: Positions) -> list[OrderEntry]:
        """What was logged and `positions` does not contain, in order."""

    def forget(self, positions: Positions) -> None:
        """Drop what `positions` contains."""


def runs_of(records: Sequence[Record]) -> list[Run]:
    """Runs of records that lie in one partition, in order.

    >>> at = lambda partition, offset: Record("t", partition, offset, 0, None, None)
    >>> runs_of([at(0, 5), at(0, 7), at(1, 2)])
    [Run(partition=0, first=5, end=8), Run(partition=1, first=2, end=3)]
    """
    runs: list[Run] = []
    partition, first, end = -1, 0, 0
    for record in records:
        if record.partition != partition:
            if end:
                runs.append(Run(partition, first, end))
            partition, first = record.partition, record.offset
        end = record.offset + 1
    return [*runs, Run(partition, first, end)] if end else runs
