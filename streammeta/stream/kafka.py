"""The topic of events as a `Source`: every partition assigned and sought explicitly, nothing left to a group.

The reader belongs to no consumer group, so it neither waits for a coordinator nor trusts a committed offset.
A second client commits offsets for lag tools; whatever happens to it stops nothing. A broker that is away is
waited for without end; what waiting cannot mend is raised as an error that names it.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition, errors

from streammeta.errors import BrokerUnavailable, StreammetaError
from streammeta.events import Positions, Record, Run
from streammeta.stream.access import (
    HEARING,
    Connected,
    KafkaSettings,
    always,
    client_config,
    connect,
    connected,
)
from streammeta.stream.commits import Committer
from streammeta.stream.held import Held, going_on, held
from streammeta.stream.refusals import missing_right, named
from streammeta.stream.silence import Silence
from streammeta.stream.topics import Administration

log = structlog.get_logger(__name__)

MAX_POLL_RECORDS = 500
LOOK_SECONDS = 1.0
"""How often the known partitions are compared with the assigned ones (metadata comes every 10 s)."""
VANISHED_SECONDS = 5.0
"""How long metadata may lack the topic before we ask why."""
TRUNCATED_SECONDS = 10.0
"""How long a log may end before a logged run does: a new leader learns the end with some delay."""
_FIXED = {
    "group_id": None,
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "metrics_enabled": True,
    "key_deserializer": None,
    "value_deserializer": None,
}


def reader_config(settings: KafkaSettings) -> dict[str, Any]:
    """The reader's configuration; records of any size pass, so that the codec can refuse them by name."""
    batch_bytes = max(1 << 20, settings.max_event_bytes + (1 << 16))
    defaults = {
        "metadata_max_age_ms": 10_000,
        "fetch_max_wait_ms": 50,
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": batch_bytes,
        "fetch_max_bytes": max(50 << 20, batch_bytes),
        "receive_message_max_bytes": max(256 << 20, 4 * batch_bytes),
    }
    return client_config(KafkaConsumer, settings, defaults, _FIXED)


class KafkaSource:
    """`Source` over kafka-python. Not for several threads."""

    def __init__(
        self,
        settings: KafkaSettings,
        *,
        keep_going: Callable[[], bool] = always,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is connected before `start`.

        Args:
            settings: The `[kafka]` section.
            keep_going: Asked while waiting for a broker in `start`, `fetch` and `ends`; False ends the wait
                with `BrokerUnavailable`.
            clock: Seconds, monotonic.
        """
        self._settings, self._keep_going, self._clock = settings, keep_going, clock
        self._reader: Connected | None = None
        self._committer: Committer | None = None
        self._assigned: dict[int, Any] = {}
        self._ends: dict[int, int] = {}
        self._silence = Silence(settings.bootstrap_servers)
        self._looked_at, self._vanished_at = clock(), float("inf")

    def start(self, positions: Positions) -> Positions:
        """As `Source.start`; told within seconds, an unreachable broker after `connect_timeout_seconds`."""
        topic = self._require_topic()
        self._reader = connect(KafkaConsumer, self._settings, reader_config(self._settings), self._keep_going)
        self._committer = Committer(self._settings, self._keep_going)
        found = held(self._settings, topic, self._keep_going)
        self._ends = {partition: log_held.end for partition, log_held in found.items()}
        begin = {
            partition: self._begin(partition, positions, found[partition]) for partition in sorted(topic)
        }
        self._check_shrunk(positions, topic)
        self._assign(begin)
        return begin

    def _require_topic(self) -> frozenset[int]:
        with connected(KafkaAdminClient, self._settings, self._keep_going) as admin:
            administration = Administration(admin, self._settings, self._keep_going)
            topic = administration.require_readable(self._settings.topic)
            administration.require_group()
            return topic.partitions

    def _begin(self, partition: int, positions: Positions, now: Held) -> int:
        if partition in positions:
            return going_on(self._settings, partition, positions[partition], now)
        return now.end if not positions and self._settings.start == "latest" else now.first

    def _check_shrunk(self, positions: Positions, topic: Collection[int]) -> None:
        for partition in sorted(set(positions) - set(topic)):
            going_on(self._settings, partition, positions[partition], Held(0, -1))

    def _assign(self, begin: Positions) -> None:
        """Take these partitions too, at these offsets; the others stay where they are."""
        self._assigned |= {p: TopicPartition(self._settings.topic, p) for p in begin}
        self._consumer.assign(list(self._assigned.values()))
        for partition, offset in begin.items():
            self._consumer.seek(self._assigned[partition], offset)

    @property
    def _consumer(self) -> Any:
        if self._reader is None:
            raise StreammetaError("the source is not started, or closed")
        return self._reader.client

    def poll(self, timeout_seconds: float) -> Sequence[Record]:
        """As `Source.poll`; at most `MAX_POLL_RECORDS`.

        Raises:
            LostOffsets: as `start`, at any time.
            BrokerRefused: a right or the login was revoked.
            TopicMissing: the topic was deleted.
        """
        records = self._read(timeout_seconds)
        self._look_for_partitions()
        return records

    def _read(self, timeout_seconds: float) -> list[Record]:
        began = self._clock()
        try:
            batches = self._consumer.poll(
                timeout_ms=max(0, int(timeout_seconds * 1000)), max_records=MAX_POLL_RECORDS
            )
        except errors.KafkaError as error:
            self._mend(error)
            batches = {}
        records = [_record(raw) for batch in batches.values() for raw in batch]
        answered = self._reader.answered() if self._reader is not None else 0.0
        self._silence.listen(answered, self._clock() - began, received=bool(records))
        return records

    def _mend(self, error: errors.KafkaError) -> None:
        """Go to where the log continues, or raise what the error means; one that passes is passed over."""
        if isinstance(error, errors.OffsetOutOfRangeError):
            for place, offset in error.args[0].items():
                self._mend_lost(place, offset, None)
        elif isinstance(error, errors.LogTruncationError):
            for place, last in error.divergent_offsets.items():
                position = self._consumer.position(place, timeout_ms=0)
                self._mend_lost(place, position, last.offset if last else 0)
        elif isinstance(error, errors.TopicAuthorizationFailedError):
            raise missing_right(self._settings, "Read", "topic", self._settings.topic) from error
        elif not error.retriable:
            unknown = StreammetaError(f"cannot read topic {self._settings.topic!r}: {error}")
            raise named(error, self._settings) or unknown from error

    def _mend_lost(self, place: Any, wanted: int, agreed_end: int | None) -> None:
        """`agreed_end`: where what we read and what the log now says part; None where they do not."""
        try:
            now = held(self._settings, [place.partition], self._keep_going)[place.partition]
        except BrokerUnavailable:
            return  # the next poll meets the same lost offset
        if agreed_end is not None:
            now = Held(min(now.first, agreed_end), agreed_end)
        self._consumer.seek(place, going_on(self._settings, place.partition, wanted, now))

    def _look_for_partitions(self) -> None:
        if self._clock() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = self._clock()
        try:
            known = self._consumer.partitions_for_topic(self._settings.topic)
            self._check_vanished(bool(known))
            new = {p: TopicPartition(self._settings.topic, p) for p in known if p not in self._assigned}
            first = self._consumer.beginning_offsets(list(new.values()), timeout_ms=2000) if new else {}
        except errors.KafkaError:
            return  # asked again at the next look
        if first:
            log.info("new partitions", topic=self._settings.topic, partitions=sorted(new))
            self._assign({partition: first[place] for partition, place in new.items()})

    def _check_vanished(self, known: bool) -> None:
        """Raise why the broker no longer names the topic: deleted, or no longer ours to see."""
        if known:
            self._vanished_at = float("inf")
            return
        self._vanished_at = min(self._vanished_at, self._clock())
        if self._clock() - self._vanished_at >= VANISHED_SECONDS:
            self._require_topic()

    def fetch(self, run: Run) -> Sequence[Record]:
        """As `Source.fetch`; the buffers of the other partitions are kept.

        Raises:
            LostOffsets: also when the log now ends before the run does.
            BrokerUnavailable: `keep_going` said no while waiting for the broker.
        """
        place = self._assigned[run.partition]
        others = [other for other in self._assigned.values() if other != place]
        self._consumer.pause(*others)
        try:
            self._consumer.seek(place, run.first)
            records = self._collect(place, run)
            self._consumer.seek(place, run.end)
        finally:
            self._consumer.resume(*others)
        return records

    def _collect(self, place: Any, run: Run) -> list[Record]:
        records: list[Record] = []
        stuck_at = float("inf")
        while (position := self.positions()[run.partition]) < run.end:
            if not self._keep_going():
                raise BrokerUnavailable(
                    f"stopped while fetching {run} of topic {self._settings.topic!r} again"
                )
            read = [r for r in self._read(0.2) if r.offset < run.end]
            records += read
            end = self._consumer.highwater(place)
            stuck = not read and self.connected() and end is not None and end <= position
            stuck_at = min(stuck_at, self._clock()) if stuck else float("inf")
            if self._clock() - stuck_at > TRUNCATED_SECONDS:
                now = held(self._settings, [run.partition], self._keep_going)[run.partition]
                going_on(self._settings, run.partition, run.end, now)
                break
        return records

    def ends(self) -> Positions:
        """As `Source.ends`; asks the broker, some 0.2 s. A transaction that is still open counts."""
        found = held(self._settings, list(self._assigned), self._keep_going)
        self._ends |= {partition: log_held.end for partition, log_held in found.items()}
        return {partition: self._ends[partition] for partition in self._assigned}

    def positions(self) -> Positions:
        """As `Source.positions`."""
        return {number: self._position(place) for number, place in self._assigned.items()}

    def _position(self, place: Any) -> int:
        while True:
            try:
                return int(self._consumer.position(place, timeout_ms=0))
            except errors.KafkaError as error:
                self._mend(error)

    def lag(self) -> Mapping[int, int]:
        """As `Source.lag`; from the high watermarks that came with the records, without asking."""
        marks = {p: self._consumer.highwater(place) for p, place in self._assigned.items()}
        ends = {p: self._ends.get(p, 0) if mark is None else mark for p, mark in marks.items()}
        return {p: max(0, ends[p] - position) for p, position in self.positions().items()}

    def connected(self) -> bool:
        """As `Source.connected`; see `Silence`."""
        return self._reader is not None and not self._silence.away

    def committed(self, positions: Positions) -> None:
        """As `Source.committed`; a failure is logged, at most once a minute."""
        if self._committer is not None:
            self._committer.commit(positions)

    def close(self) -> None:
        """As `Source.close`; waits about a second at most for the last commit."""
        committer, self._committer = self._committer, None
        if committer is not None:
            committer.close(wait=self.connected())
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.client.close(autocommit=False, timeout_ms=1000)


def _record(raw: Any) -> Record:
    return Record(
        raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, raw.value, tuple(raw.headers or ())
    )
