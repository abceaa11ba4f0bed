"""The protocols between the loop and the outside: `Source` gives records, `DeadLetters` takes the refused.

Invariant: within one partition a source yields offsets in rising order. It may skip offsets (compaction,
transaction markers) and may yield again what it yielded before; the loop drops what its state contains.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from streammeta.errors import BadEvent
from streammeta.events import Positions, Record, Run


class Source(Protocol):
    """An ordered set of partitions that can be read from any offset that the log still holds."""

    def start(self, positions: Positions) -> Positions:
        """Take every partition of the topic and go to `positions`; say where each partition now stands.

        A partition that `positions` lacks begins where the configuration says (`kafka.start`) when
        `positions` is empty, and at its first offset otherwise: it appeared after the state was made.

        Raises:
            LostOffsets: the log no longer holds a position, and the configuration says to fail.
            BrokerUnavailable, BrokerRefused, TopicMissing: named with the remedy.
        """

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """The next records, at most some hundreds, in the order in which they shall be learned.

        Empty when nothing came in time, also while the broker is away: that shows in `connected`.
        """

    def fetch(self, run: Run) -> Sequence[Record]:
        """The records of one logged run, again; afterwards the partition stands at `run.end`.

        Waits for a broker that is away. Records that the log has since lost are absent.

        Raises:
            LostOffsets: as `start`.
        """

    def ends(self) -> Positions:
        """Per partition the offset after its last record, now."""

    def positions(self) -> Positions:
        """Per partition the next offset that `poll` would read (past transaction markers too)."""

    def lag(self) -> Mapping[int, int]:
        """Per partition the number of offsets between the position and the end, as far as known."""

    def connected(self) -> bool:
        """Whether the broker has answered lately."""

    def committed(self, positions: Positions) -> None:
        """Tell the broker, for lag tools only. Never raises, never waits."""

    def close(self) -> None:
        """Let go of connections. May be called twice."""


class DeadLetters(Protocol):
    """Takes records that cannot be used; holds on to each until its write is acknowledged."""

    def send(self, record: Record, refusal: BadEvent) -> None:
        """Begin to write the record, byte for byte, with headers that tell where and why."""

    def flush(self) -> None:
        """Return when all that was sent is acknowledged.

        Raises:
            DeadLetterFailed: one was refused for good (the offset must not move on).
        """

    def close(self) -> None:
        """Let go of connections. May be called twice."""
