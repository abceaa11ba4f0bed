"""A stream without a broker: records made in this process, for trying things out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from streammeta.errors import BadEvent
from streammeta.events import Condition, Conditions, Positions, Record, Run
from streammeta.stream.base import Waiting, untold

_BATCH = 100


@dataclass
class GeneratedSource:
    """`Source` over a function that makes the records of one partition from any offset on.

    Attributes:
        records_from: offset -> the records from there, without end, the same at every call.
        per_second: Records a second, as they come due.
        monotonic, sleep: Time, in seconds.
    """

    records_from: Callable[[int], Iterator[Record]]
    per_second: float
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _next: int = field(init=False, default=0)
    _began: float = field(init=False, default=0.0)
    _first: int = field(init=False, default=0)
    _records: Iterator[Record] = field(init=False, default_factory=lambda: iter(()))

    def start(self, positions: Positions, identity: str = "") -> Positions:  # noqa: ARG002 (the protocol's)
        """Begin at the position of partition 0, or at the first record."""
        self._first = self._next = positions.get(0, 0)
        self._began = self.monotonic()
        self._records = self.records_from(self._next)
        return {0: self._next}

    def identity(self) -> str:
        """There is one such stream."""
        return ""

    def moved(self) -> Positions:
        """Every offset can be made again."""
        return {}

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """The records that are due; waits for the next one."""
        wait = (self._next + 1 - self._first) / self.per_second - (self.monotonic() - self._began)
        if wait > 0:
            self.sleep(min(wait, timeout_seconds))
        records = list(islice(self._records, min(_BATCH, max(0, self._due() - self._next))))
        self._next += len(records)
        return records

    def is_cut(self) -> bool:
        """None is known."""
        return False

    def executors(self) -> Mapping[str, Conditions] | None:
        """Nobody knows."""
        return None

    def replayed(self) -> float | None:
        """There is no end."""
        return None

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:  # noqa: ARG002 (the protocol's)
        """The records of the run, made again."""
        records = list(islice(self.records_from(run.first), run.end - run.first))
        self._next = run.end
        self._records = self.records_from(run.end)
        return records

    def ends(self) -> Positions:
        """What is due by now."""
        return {0: self._due()}

    def positions(self) -> Positions:
        """The next record."""
        return {0: self._next}

    def passed(self) -> Positions:
        """There is nothing between two records."""
        return {}

    def lag(self, applied: Positions) -> Mapping[int, int]:
        """Records due and not yet applied."""
        return {0: max(0, self._due() - applied.get(0, self._first))}

    def condition(self, applied: Positions) -> Condition:  # noqa: ARG002 (the protocol's)
        """There is nothing to be cut off from."""
        return Condition()

    def committed(self, positions: Positions) -> None:
        """There are no lag tools to tell."""

    def close(self) -> None:
        """There is nothing to let go of."""

    def _due(self) -> int:
        return self._first + int((self.monotonic() - self._began) * self.per_second)


class NoDeadLetters:
    """`DeadLetters` for generated records: they are counted, and can be made again, so none is lost."""

    def send(self, record: Record, refusal: BadEvent) -> None:
        """Nothing to write; the loop counts it."""

    def flush(self, waiting: Waiting = untold) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to let go of."""
