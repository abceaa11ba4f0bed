"""The newest records as a source: what was read once is given to the loop."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streammeta.events import Condition, Conditions, Positions, Record, Run
from streammeta.stream.base import Waiting, untold

_POLL_RECORDS: Final = 500


@dataclass
class Sample:
    """`Source` over records at hand, in the order given; offsets of a partition rise."""

    records: Sequence[Record]
    _at: dict[int, int] = field(init=False, default_factory=dict)

    def start(self, positions: Positions, identity: str = "") -> Positions:  # noqa: ARG002 (the protocol's)
        """Every partition begins at its position, or at its first record."""
        firsts = {record.partition: record.offset for record in reversed(self.records)}
        self._at = {**firsts, **positions}
        return dict(self._at)

    def identity(self) -> str:
        """Not known."""
        return ""

    def moved(self) -> Positions:
        """Nothing moves."""
        return {}

    def poll(self, timeout_seconds: float) -> Sequence[Record]:  # noqa: ARG002 (nothing is waited for)
        """The next ones."""
        left = [record for record in self.records if record.offset >= self._at[record.partition]]
        polled = left[:_POLL_RECORDS]
        self._at.update((record.partition, record.offset + 1) for record in polled)
        return polled

    def is_cut(self) -> bool:
        """None is known."""
        return False

    def executors(self) -> Mapping[str, Conditions] | None:
        """Nobody knows."""
        return None

    def replayed(self) -> float | None:
        """Nobody asks."""
        return None

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:  # noqa: ARG002 (no waits)
        """The records of the run, again."""
        self._at[run.partition] = run.end
        return [r for r in self.records if r.partition == run.partition and run.first <= r.offset < run.end]

    def ends(self) -> Positions:
        """After the last record of each partition."""
        return {record.partition: record.offset + 1 for record in self.records}

    def positions(self) -> Positions:
        """After what was polled."""
        return dict(self._at)

    def passed(self) -> Positions:
        """What lies between two records is not known here."""
        return {}

    def lag(self, applied: Positions) -> Mapping[int, int]:
        """Offsets that are still to come."""
        ends = self.ends()
        return {partition: max(0, end - applied.get(partition, 0)) for partition, end in ends.items()}

    def condition(self, applied: Positions) -> Condition:  # noqa: ARG002 (the protocol's)
        """There is nothing to be cut off from."""
        return Condition()

    def committed(self, positions: Positions) -> None:
        """There is nobody to tell."""

    def close(self) -> None:
        """There is nothing to let go of."""
