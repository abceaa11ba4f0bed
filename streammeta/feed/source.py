"""The feed as a `Source`: what another learner applied, in its order, and from the broker what it lacks.

The order is the champion's: within what the feed holds, a learner that goes on from its own positions meets
the same records in the same order, whichever process was killed. What lies between its positions and the feed
(it was away, or further behind than the feed is long) is read from the broker, up to where the feed begins.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

import structlog

from streammeta.errors import BrokerUnavailable
from streammeta.events import Condition, Conditions, Positions, Record, Run
from streammeta.feed.frames import Base, Rows, records_of
from streammeta.feed.reader import FeedReader
from streammeta.stream.base import Waiting, untold

POLL_RECORDS: Final = 500
LOOK_SECONDS: Final = 0.5
"""How often a feed that is not there yet, or has nothing new, is looked at without a sign."""
END: Final = 1 << 62
"""The offset of the marker that stands at the end of a feed whose writer has ended."""

First = Callable[[int], int]
"""The first offset that the broker holds of a partition."""

log = structlog.get_logger(__name__)


class Signs(Protocol):
    """What the champion says beside the feed."""

    def wait(self, seconds: float) -> None:
        """Return when there is news, at the latest after so long."""

    @property
    def ended(self) -> bool:
        """Whether nothing is written any more: what is there shall be learned from, then is the end."""

    @property
    def going_on(self) -> bool:
        """False: stop now."""


class Fetcher(Protocol):
    """Reads runs from the broker: `streammeta.stream.kafka.runs.Runs`."""

    def fetch(self, run: Run, waiting: Waiting = untold) -> tuple[list[Record], int]:
        """The records of the run, and where they end."""

    def are_of(self, topic_id: str) -> bool:
        """Whether they are of this topic; `LostOffsets` where that may not be passed over."""

    def close(self) -> None:
        """Let go of the connections."""


class FeedSource:
    """`Source` over a feed. Not for several threads."""

    def __init__(
        self, directory: Path, topic: str, signs: Signs, fetcher: Callable[[], Fetcher], first: First
    ) -> None:
        """Nothing is read before `start`.

        Args:
            directory: The feed's.
            topic: Its records'.
            signs: From the champion.
            fetcher: Connects to the broker, when records are missing.
            first: The first offset that the broker holds of a partition.
        """
        self._reader = FeedReader(directory)
        self._topic, self._signs, self._connect, self._first = topic, signs, fetcher, first
        self._fetcher: Fetcher | None = None
        self._topic_id = ""
        self._at: dict[int, int] = {}
        self._rows: deque[Record] = deque()
        self._missing: deque[Run] = deque()
        self._missing_to: dict[int, int] = {}
        self._moves: dict[int, int] = {}
        self._segments: deque[tuple[int, Positions]] = deque()
        """Those that hold something beyond the last commit, each with where it begins."""
        self._done = False

    @property
    def segment(self) -> int:
        """The oldest segment that is needed after a crash; -1 before the first."""
        return self._segments[0][0] if self._segments else -1

    def start(self, positions: Positions, identity: str = "") -> Positions:
        """As `Source.start`: waits for the champion; a new state begins with the oldest segment.

        Raises:
            BrokerUnavailable: asked to stop meanwhile.
        """
        while True:
            found = self._reader.first(positions, identity)
            if found is not None:
                try:
                    return self._start(*found, positions, identity)
                except FileNotFoundError:
                    continue  # removed meanwhile
            if not self._signs.going_on:
                raise BrokerUnavailable("stopped while waiting for the champion to begin")
            self._signs.wait(LOOK_SECONDS)

    def _start(self, number: int, base: Base, positions: Positions, identity: str) -> Positions:
        self._reader.open(number)
        self._reader.next()
        another = identity not in ("", base.topic_id) and bool(base.topic_id)
        self._topic_id = base.topic_id
        self._segments = deque([(number, base.positions)])
        if another or not positions:
            self._at = dict(base.positions)
        else:
            self._at = dict(positions)
            self._find_missing(base.positions)
        return dict(self._at)

    def _find_missing(self, base: Positions) -> None:
        """What the broker is to be asked for, before the segment that begins there."""
        missing = list[Run]()
        for partition, offset in sorted(base.items()):
            at = self._at.get(partition)
            at = self._first(partition) if at is None else at
            self._at[partition] = at
            missing += [
                Run(partition, begin, min(begin + POLL_RECORDS, offset))
                for begin in range(at, offset, POLL_RECORDS)
            ]
        if missing:
            log.info("reading from the broker what the feed lacks", before=dict(base), now=dict(self._at))
        # One piece of each partition after another, so that none is far ahead of the others.
        self._missing.extend(sorted(missing, key=lambda run: run.first - self._at[run.partition]))
        self._missing_to |= {run.partition: run.end for run in missing}

    def identity(self) -> str:
        """As `Source.identity`: the topic's, as the champion knows it."""
        return self._topic_id

    def moved(self) -> Positions:
        """As `Source.moved`: where the champion went."""
        moves, self._moves = self._moves, {}
        return moves

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """As `Source.poll`."""
        if self._missing:
            return self._fetch_missing()
        if not self._rows:
            ended = self._signs.ended  # asked first: what was written before it is read before the end
            if not self._read():
                self._done = ended
                if not ended:
                    self._signs.wait(min(timeout_seconds, LOOK_SECONDS))
        return [] if self._missing or self._moves else self._take(POLL_RECORDS)

    def _fetch_missing(self) -> list[Record]:
        run = self._missing.popleft()
        begin = max(run.first, self._at[run.partition])
        return self._fetch(run._replace(first=begin), untold) if begin < run.end else []

    def _read(self) -> bool:
        """Go on by one item; whether there was one."""
        item = self._reader.next()
        match item:
            case None:
                return False
            case Rows():
                self._rows.extend(records_of(item.rows, self._topic))
            case Base():
                self._turn_to(item)
            case _:
                self._at |= {p: o for p, o in item.positions.items() if o > self._at.get(p, 0)}
        return True

    def _turn_to(self, base: Base) -> None:
        """A further segment."""
        self._segments.append((self._reader.number, base.positions))
        if base.moved:
            self._topic_id = base.topic_id
            self._at, self._moves = dict(base.positions), dict(base.positions)
        else:
            self._find_missing(base.positions)

    def _take(self, most: int) -> list[Record]:
        """Of the records at hand those that were not taken yet."""
        taken = list[Record]()
        while self._rows and len(taken) < most:
            record = self._rows.popleft()
            if record.offset >= self._at.get(record.partition, 0):
                self._at[record.partition] = record.offset + 1
                taken.append(record)
        return taken

    def _fetch(self, run: Run, waiting: Waiting) -> list[Record]:
        self._fetcher = self._fetcher or self._connect()
        records, end = self._fetcher.fetch(run, waiting)
        if not self._fetcher.are_of(self._topic_id):
            records, end = [], run.end
        self._at[run.partition] = max(end, self._at.get(run.partition, 0))
        if not self._missing:
            self._let_go()
        return records

    def fetch(self, run: Run, waiting: Waiting = untold) -> Sequence[Record]:
        """As `Source.fetch`: from the feed where the run is what comes next in it, else from the broker."""
        records = list[Record]()
        if run.first >= self._missing_to.get(run.partition, 0):
            while self._at.get(run.partition, 0) < run.end and self._comes_next(run):
                records += self._take(1)
        begin = max(run.first, self._at.get(run.partition, 0))
        if begin < run.end:
            records += self._fetch(run._replace(first=begin), waiting)
        return records

    def _comes_next(self, run: Run) -> bool:
        """Whether the next record that was not taken yet is of the run."""
        while True:
            while self._rows and self._rows[0].offset < self._at.get(self._rows[0].partition, 0):
                self._rows.popleft()
            if self._rows:
                return self._rows[0].partition == run.partition and self._rows[0].offset < run.end
            if self._missing or self._moves or not self._read():
                return False

    def is_cut(self) -> bool:
        """As `Source.is_cut`: iterations are the learner's own."""
        return False

    def executors(self) -> Mapping[str, Conditions] | None:
        """As `Source.executors`: so are its steps."""
        return None

    def replayed(self) -> float | None:
        """As `Source.replayed`."""
        return None

    def ends(self) -> Positions:
        """As if a marker followed the last record of a feed whose writer has ended."""
        return {END: 1}

    def positions(self) -> Positions:
        """As `Source.positions`; at the end past that marker."""
        return {**self._at, END: 1} if self._done else self._at

    def passed(self) -> Positions:
        """As `Source.passed`: markers and gaps that the champion went past."""
        return self._at

    def lag(self, applied: Positions) -> Mapping[int, int]:  # noqa: ARG002 (the protocol's)
        """Not known here: the champion knows how far it is."""
        return {}

    def condition(self, applied: Positions) -> Condition:  # noqa: ARG002 (the protocol's)
        """There is nothing to be cut off from."""
        return Condition()

    def committed(self, positions: Positions) -> None:
        """As `Source.committed`: earlier segments are not needed any more."""
        while len(self._segments) > 1 and _within(self._segments[1][1], positions):
            self._segments.popleft()

    def close(self) -> None:
        """As `Source.close`."""
        self._reader.close()
        self._let_go()

    def _let_go(self) -> None:
        fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            fetcher.close()


def _within(base: Positions, positions: Positions) -> bool:
    return all(offset <= positions.get(partition, 0) for partition, offset in base.items())
