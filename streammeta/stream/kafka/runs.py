"""Logged runs read again after a crash, through a consumer of their own.

Runs of the partitions interleave, and those of one partition follow each other: what a fetch brings beyond
its run is kept for the next one of the partition, so each record travels once.
"""

import time
from collections import deque
from collections.abc import Callable

from streammeta.errors import BrokerUnavailable, LoginRefused
from streammeta.events import Record, Run
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings
from streammeta.stream.kafka.held import going_on, going_on_anew, held
from streammeta.stream.kafka.reader import Reader
from streammeta.stream.kafka.silence import Silence

TRUNCATED_SECONDS = 10.0
"""How long a log may end before a logged run does: a new leader learns the end with some delay."""
_MAX_RECORDS = 100_000
"""Take whatever a fetch brought; its bytes are bounded, its records may be of seven bytes each."""


class Runs:
    """Reads runs. One partition is read at a time; nothing else is disturbed."""

    def __init__(self, settings: KafkaSettings, silence: Silence, keep_going: Callable[[], bool]) -> None:
        """Connect. Raises as `connect`."""
        self._settings, self._silence, self._keep_going = settings, silence, keep_going
        self.reader = Reader(settings, silence, keep_going)
        self._ahead: dict[int, tuple[deque[Record], int]] = {}
        """Partition -> records read beyond the last run, and the position after them."""

    def fetch(self, run: Run, waiting: Waiting = untold) -> tuple[list[Record], int]:
        """As `Source.fetch`; the records, and where they end: at `run.end`, or before it with the log."""
        ahead, position = self._ahead.pop(run.partition, (deque[Record](), run.first))
        if ahead and ahead[0].offset > run.first:
            ahead, position = deque(), run.first
        if position < run.end:
            position = self._read_on(run, ahead, position, waiting)
        records = []
        while ahead and ahead[0].offset < run.end:
            record = ahead.popleft()
            if record.offset >= run.first:
                records.append(record)
        if ahead:
            self._ahead[run.partition] = ahead, position
        return records, min(position, run.end)

    def _read_on(self, run: Run, ahead: deque[Record], position: int, waiting: Waiting) -> int:
        """Append records to `ahead` until the run is whole, or the log ends; the position after them."""
        self.reader.assign_only({run.partition: max(position, run.first)})
        stuck_since: float | None = None
        while (position := self.reader.position(run.partition)) < run.end:
            if not self._keep_going():
                raise BrokerUnavailable(
                    f"stopped while reading {run} of topic {self._settings.topic!r} again"
                )
            waiting()
            ahead.extend(self.reader.read(0.2, _MAX_RECORDS))
            stuck_since = (stuck_since or time.monotonic()) if self._at_end(run) else None
            if stuck_since is not None and time.monotonic() - stuck_since > TRUNCATED_SECONDS:
                now = held(self._settings, [run.partition], self._keep_going)[run.partition]
                stuck_since = None
                if going_on(self._settings, run.partition, run.end, now) != run.end:
                    return self.reader.position(run.partition)
        return position

    def _at_end(self, run: Run) -> bool:
        """Whether the log, as far as the broker says, ends within the run."""
        mark = self.reader.high_watermark(run.partition)
        return not self._silence.away and mark is not None and mark <= self.reader.position(run.partition)

    def topic_id(self) -> str:
        """Which topic the runs are of; as `Reader.topic_id`."""
        return self.reader.topic_id()

    def are_of(self, topic_id: str) -> bool:
        """Whether what was fetched is of this topic, not of one that was made in its place.

        Raises:
            LostOffsets: it is not, and the configuration says to fail.
        """
        now = self.topic_id()
        if "" in {now, topic_id} or now == topic_id:
            return True
        going_on_anew(self._settings, topic_id, now, {})
        return False

    def reopen(self) -> None:
        """Read on through new connections: the old ones do not come back."""
        positions = self.reader.positions()
        try:
            reader = Reader(self._settings, self._silence, self._keep_going)
        except (BrokerUnavailable, LoginRefused):
            return  # tried again after as long a silence
        self.reader.close()
        self.reader = reader
        reader.assign_only(positions)

    def close(self) -> None:
        """Let go of the connections."""
        self.reader.close()
