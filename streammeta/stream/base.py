"""The protocols between the loop and the outside: `Source`, `DeadLetters`, `Answers`.

Invariant: within one partition a source yields offsets in rising order. It may skip offsets (compaction,
transaction markers) and may yield again what it yielded before; the loop drops what its state contains.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from streammeta.errors import BadEvent
from streammeta.events import Condition, Conditions, Positions, Record, Run

Waiting = Callable[[], None]
"""Called every slice of a long wait, at least every some seconds: a sign of life, and news for watchers."""


def untold() -> None:
    """Tell nobody: the default of callers who need not know that a wait is long."""


class Source(Protocol):
    """An ordered set of partitions that can be read from any offset that the log still holds."""

    def start(self, positions: Positions, identity: str = "") -> Positions:
        """Take every partition of the topic and go to `positions`; say where each partition now stands.

        `identity` is what `identity()` said when the positions were made, "" when it is not known. A topic of
        another identity holds none of the positions, even where it has such offsets.

        A partition that `positions` lacks begins where the configuration says (`kafka.start`) when
        `positions` is empty, and at its first offset otherwise: it appeared after the state was made.

        Raises:
            LostOffsets: the log no longer holds a position, or is another topic of the same name, and the
                configuration says to fail. Else the answer may lie below `positions`.
            BrokerUnavailable, BrokerRefused, TopicMissing: named with the remedy.
        """

    def identity(self) -> str:
        """What tells the topic from a later one of the same name; "" where the broker gives nothing."""

    def moved(self) -> Positions:
        """The partitions that went elsewhere than asked since the last call, and where they went.

        Told before the records that follow: whoever polls asks this before using what the poll gave. After a
        change of `identity` these are all partitions of the topic.
        """

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """The next records, at most some hundreds, in the order in which they shall be learned.

        Empty when nothing came in time, also while the broker is away: that shows in `connected`.
        """

    def is_cut(self) -> bool:
        """Whether an iteration ended before the records of the last poll: a recording knows, no log."""

    def executors(self) -> Mapping[str, Conditions] | None:
        """The compiled steps that learned the records of the last poll, by name; None where nobody knows.

        A recording knows, no log. Whoever learns from them again uses the same.
        """

    def replayed(self) -> float | None:
        """The share of a recording that was read, 0 to 1; None for a log, which has no end."""

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:
        """The records of one logged run, again; afterwards the partition stands at `run.end`.

        Waits for a broker that is away. Records that the log has since lost are absent; where it now ends
        within the run, the partition stands at that end. Where the topic was made again meanwhile nothing is
        given and `identity` changes: no logged run is of this topic, and `moved` tells where it begins.

        Raises:
            LostOffsets: as `start`.
        """

    def ends(self) -> Positions:
        """Per partition the offset after its last record, now."""

    def positions(self) -> Positions:
        """Per partition the next offset that `poll` would read (past transaction markers too)."""

    def passed(self) -> Positions:
        """Where partitions stand once all that `poll` gave is applied, past what holds no record for us.

        Control records, aborted records and compacted gaps are passed so. Partitions without any may lack.
        """

    def lag(self, applied: Positions) -> Mapping[int, int]:
        """Per partition the offsets between `applied` and the end; without those whose end is not known."""

    def condition(self, applied: Positions) -> Condition:
        """How the broker serves us, as of some seconds ago; lag in it counts from `applied`."""

    def committed(self, positions: Positions) -> None:
        """Tell the broker, for lag tools only. Never raises, never waits."""

    def close(self) -> None:
        """Let go of connections. May be called twice."""


class DeadLetters(Protocol):
    """Takes records that cannot be used; holds on to each until its write is acknowledged."""

    def send(self, record: Record, refusal: BadEvent) -> None:
        """Begin to write the record, byte for byte, with headers that tell where and why."""

    def flush(self, waiting: Waiting = untold) -> None:
        """Return when all that was sent is acknowledged; `waiting` is called while the broker is silent.

        Raises:
            DeadLetterFailed: one was refused for good (the offset must not move on).
        """

    def close(self) -> None:
        """Let go of connections. May be called twice."""


class Answers(Protocol):
    """Takes answers to records without labels; holds on to each until its write is acknowledged."""

    @property
    def crowded(self) -> bool:
        """Whether so many are unacknowledged that they shall be waited for."""

    def send(self, answer: Record, asked: Record) -> None:
        """Begin to write the answer to the record that asked; in the order of the calls."""

    def flush(self, waiting: Waiting = untold) -> Sequence[tuple[Record, BadEvent]]:
        """Return when all that was sent is acknowledged; `waiting` is called while the broker is silent.

        What the topic cannot hold is given up: the records that asked, and why.

        Raises:
            AnswerFailed, BrokerRefused: one was refused for good (the offset must not move on).
        """

    def close(self) -> None:
        """Let go of connections. May be called twice."""
