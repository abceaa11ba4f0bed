"""A consumer of chosen partitions that says what goes wrong in our words, and goes on where that is allowed.

It belongs to no consumer group, so it neither waits for a coordinator nor trusts a committed offset. A broker
that is away is no error here: reads give nothing, and `Silence` tells.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition, errors

from streammeta.errors import BrokerUnavailable, DamagedLog, LoginRefused, StreammetaError
from streammeta.events import Flaw, Positions, Record
from streammeta.stream.kafka.access import KafkaSettings, client_config, connect
from streammeta.stream.kafka.batches import flaw_in
from streammeta.stream.kafka.held import Held, going_on, held
from streammeta.stream.kafka.refusals import missing_right, named
from streammeta.stream.kafka.silence import Silence
from streammeta.stream.kafka.topics import id_text
from streammeta.stream.kafka.waits import close_client
from streammeta.stream.kafka.withheld import Withheld

AHEAD_BYTES: Final = 32 << 20
"""What all partitions together may hold that was fetched and not read yet; one batch each is the least."""
_PARTITION_BYTES: Final = 1 << 20
_LEAST_BYTES: Final = 1 << 16
UNASKED_SECONDS: Final = 1.0
"""A fetch that waits is told when its topic is deleted. After so long without an answer the topic may have
been deleted and made again unseen: fetches name no id (version 12)."""
_METADATA_SECONDS: Final = 2.0
"""How long records are kept from whoever reads until the topic's id is known to be theirs."""
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
    """The consumer's configuration; records of any size pass, so that the codec can refuse them by name.

    A batch that is larger than what may be fetched of a partition comes all the same, alone (KIP-74).
    """
    batch_bytes = max(1 << 20, settings.max_event_bytes + (1 << 16))
    defaults = {
        "metadata_max_age_ms": 10_000,
        "fetch_max_wait_ms": 50,  # the embedded broker answers no sooner, whatever arrives
        "enable_incremental_fetch_sessions": False,  # in them a broker that gives nothing is not heard
        "isolation_level": "read_committed",
        "max_partition_fetch_bytes": _PARTITION_BYTES,
        "fetch_max_bytes": AHEAD_BYTES,
        "receive_message_max_bytes": max(256 << 20, 4 * batch_bytes),
    }
    return client_config(KafkaConsumer, settings, defaults, _FIXED)


class Reader:
    """Reads the partitions assigned to it, each from the offset given."""

    def __init__(self, settings: KafkaSettings, silence: Silence, keep_going: Callable[[], bool]) -> None:
        """Connect. Raises as `connect`."""
        self._settings, self._silence, self._keep_going = settings, silence, keep_going
        self._connected = connect(KafkaConsumer, settings, reader_config(settings), keep_going)
        self._consumer = self._connected.client
        self._withheld = Withheld(self._consumer, time.monotonic)
        self._places: dict[int, Any] = {}
        self._partition_bytes: int = self._consumer._fetcher.config["max_partition_fetch_bytes"]
        self._answered, self._answered_at = 0.0, time.monotonic()
        self._unsure = False
        self.moves: dict[int, int] = {}
        """Partitions that went elsewhere because the log lacked their next offset; the owner clears it."""

    def assign(self, begin: Positions) -> None:
        """Take these partitions too, at these offsets; the others stay where they are."""
        self._places |= {p: TopicPartition(self._settings.topic, p) for p in begin}
        self._consumer.assign(list(self._places.values()))
        each = max(_LEAST_BYTES, AHEAD_BYTES // len(self._places)) if self._places else AHEAD_BYTES
        self._consumer._fetcher.config["max_partition_fetch_bytes"] = min(self._partition_bytes, each)
        for partition, offset in begin.items():
            self.seek(partition, offset)

    def assign_only(self, begin: Positions) -> None:
        """Take these partitions and no others."""
        self._places = {}
        self.assign(begin)

    def seek(self, partition: int, offset: int) -> None:
        """Go to an offset of an assigned partition."""
        self._consumer.seek(self._places[partition], offset)

    def unread(self, records: Iterable[Record]) -> None:
        """Go back to before these, the last that `read` gave."""
        firsts: dict[int, int] = {}
        for record in records:
            firsts.setdefault(record.partition, record.offset)
        for partition, offset in firsts.items():
            self.seek(partition, offset)

    def read(self, timeout_seconds: float, max_records: int) -> list[Record]:
        """The next records; none when the broker is away or nothing came in time.

        Raises:
            LostOffsets: the log lacks the next offset, and the configuration says to fail.
            DamagedLog: the next batch is damaged, and the configuration says to fail.
            BrokerRefused: a right or the login was revoked.
        """
        if lacking := self._lacking():
            return self._sound(lacking)
        began = time.monotonic()
        try:
            timeout_ms = max(0, int(timeout_seconds * 1000))
            batches = self._consumer.poll(timeout_ms=timeout_ms, max_records=max_records)
        except errors.KafkaError as error:
            self._mend(error)
            batches = {}
            time.sleep(max(0.0, timeout_seconds - (time.monotonic() - began)))  # it may fail at once, again
        records = self._sound([record_of(raw) for batch in batches.values() for raw in batch])
        self._listen()
        if records and self._unsure and not self._named_anew():
            self.unread(records)
            records = []
        waited_seconds = time.monotonic() - began
        self._silence.listen(self._connected.fetched(), waited_seconds, received=bool(records))
        return records

    def _listen(self) -> None:
        """Whether answers came again after a time without: what they bring may be of another topic."""
        answered, now = self._connected.fetched(), time.monotonic()
        if answered != self._answered:
            self._unsure = self._unsure or now - self._answered_at > UNASKED_SECONDS
            self._answered, self._answered_at = answered, now

    def _named_anew(self) -> bool:
        """Ask for metadata that is younger than what was read; False where none comes in time."""
        cluster, deadline = self._consumer._cluster, time.monotonic() + _METADATA_SECONDS
        for _ in range(2 if cluster.metadata_refresh_in_progress else 1):  # one under way may be older
            answer = cluster.request_update()
            while not answer.is_done:
                if time.monotonic() > deadline:
                    return False
                time.sleep(0.001)
            if not answer.succeeded():
                return False
        self._unsure = False
        return True

    def _lacking(self) -> list[Record]:
        """What the log holds and the broker does not give: passed, with a record that says so."""
        if not self._withheld:
            return []
        at = {place: self._consumer._subscription.position(place).offset for place in self._places.values()}
        lacking = self._withheld.due(at)
        for record in lacking:
            self.seek(record.partition, record.offset + 1)
        return lacking

    def _sound(self, records: list[Record]) -> list[Record]:
        """The records, up to what is damaged in the log unless that may be passed.

        Raises:
            DamagedLog: the first of them is damaged.
        """
        if self._settings.on_corrupt == "skip":
            return records
        for number, record in enumerate(records):
            if record.flaw is not None and record.flaw.damaged:
                if number == 0:
                    raise _damaged(record, record.flaw)
                self.unread(records[number:])
                return records[:number]
        return records

    def _mend(self, error: errors.KafkaError) -> None:
        """Go to where the log continues, or raise what the error means; one that passes is passed over."""
        if isinstance(error, errors.OffsetOutOfRangeError):
            for place, offset in error.args[0].items():
                self._mend_lost(place.partition, offset)
        elif isinstance(error, errors.LogTruncationError):
            for place, last in error.divergent_offsets.items():
                wanted = self._consumer.position(place, timeout_ms=0)
                self._mend_lost(place.partition, wanted, last.offset if last else 0)
        elif isinstance(error, errors.TopicAuthorizationFailedError):
            raise missing_right(self._settings, "Read", "topic", self._settings.topic) from error
        elif not error.retriable and not isinstance(error, errors.CorruptRecordError):  # `Withheld` heard it
            known = named(error, self._settings)
            if not isinstance(known, LoginRefused):  # those `Watch` judges
                unknown = StreammetaError(f"cannot read topic {self._settings.topic!r}: {error}")
                raise known or unknown from error

    def _mend_lost(self, partition: int, wanted: int, agreed_end: int | None = None) -> None:
        """`agreed_end`: where what was read and what the log says now part; None where they do not."""
        try:
            now = held(self._settings, [partition], self._keep_going)[partition]
        except BrokerUnavailable:
            return  # the next read meets the same lost offset
        if agreed_end is not None:
            now = Held(min(now.first, agreed_end), agreed_end)
        offset = going_on(self._settings, partition, wanted, now)
        if offset != wanted:
            self.moves[partition] = offset
        self.seek(partition, offset)

    def position(self, partition: int) -> int:
        """The next offset that `read` would give, past transaction markers. Raises as `read`."""
        place = self._places[partition]
        try:
            return int(self._consumer.position(place, timeout_ms=0))
        except errors.KafkaError as error:
            self._mend(error)  # where the broker does not say how, the next read meets it again
        return int(self._consumer._subscription.position(place).offset)

    def positions(self) -> dict[int, int]:
        """`position` of every assigned partition."""
        return {partition: self.position(partition) for partition in self._places}

    def high_watermark(self, partition: int) -> int | None:
        """The end as of the last fetch; None before one was answered."""
        mark: int | None = self._consumer.highwater(self._places[partition])
        return mark

    def known_partitions(self) -> set[int]:
        """The partitions as of the last metadata; empty when it lacks the topic, and is then asked for."""
        known = self._consumer._cluster.partitions_for_topic(self._settings.topic)
        if known is None:
            # KafkaConsumer.partitions_for_topic() would wait for the answer, without end.
            self._consumer._cluster.request_update()
        return set(known or ())

    def topic_id(self) -> str:
        """The topic's id as of the last metadata, not older than what was read; "" where it is not known."""
        return id_text(self._consumer._cluster.topic_id(self._settings.topic))

    @property
    def throttled_until(self) -> float:
        """As `Connected.throttled_until`."""
        return self._connected.throttled_until

    def close(self) -> None:
        """Let go of the connections."""
        close_client(self._consumer, autocommit=False, timeout_ms=1000)


def record_of(raw: Any) -> Record:
    """A record of kafka-python as ours."""
    headers = raw.headers
    if headers and (flaw := flaw_in(headers)):
        return Record(raw.topic, raw.partition, raw.offset, raw.timestamp, raw.key, None, (), flaw)
    time_ms = raw.timestamp if raw.timestamp is not None else -1
    return Record(raw.topic, raw.partition, raw.offset, time_ms, raw.key, raw.value, tuple(headers or ()))


def _damaged(record: Record, flaw: Flaw) -> DamagedLog:
    return DamagedLog(
        f"topic {record.topic!r} partition {record.partition}: {flaw.message}. The disk or the memory of a "
        "broker is not sound, or the records were changed on their way: see that another replica leads, or "
        'restore the log; or set kafka.on_corrupt to "skip" to go on without them (a dead letter tells which)'
    )
