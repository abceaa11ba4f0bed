"""Stands in for `KafkaConsumer`, as far as the Kafka room uses it, with what it hides."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, NamedTuple

from kafka import OffsetAndMetadata, TopicPartition, errors
from kafka.future import Future

from streammeta.events import Record
from streammeta.stream.kafka.batches import flawed
from tests.simulator.broker import TOPIC, Broker, Topic
from tests.simulator.log import Log
from tests.stream.batches import batch

FETCH_WAIT_SECONDS = 0.05
PENDING_SECONDS = 1.0
"""So soon after the last fetch another one waits, and is told when the topic is deleted."""
_BATCH = bytes(batch([b"v"]))


class Raw(NamedTuple):
    """A record as kafka-python gives it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def raw_of(record: Record) -> Raw:
    """The record as a fetch brings it; a flaw lies where the reader's own batches leave it."""
    headers = record.headers if record.flaw is None else flawed(record.offset, record.flaw).headers
    return Raw(*record[:6], headers)


@dataclass
class Place:
    """A partition in the client: where the application is, what waits for it, and the end last heard of."""

    position: int
    buffer: deque[Record] = field(default_factory=deque)
    behind: int = 0
    high: int | None = None


class Cluster:
    """The metadata: as old as the last answer, at most so many seconds while the broker serves."""

    metadata_refresh_in_progress = False

    def __init__(self, broker: Broker, most_seconds: float) -> None:
        self._broker, self._most_seconds = broker, most_seconds
        self._at = -1e9
        self.known: Topic | None = None
        self.partitions: set[int] = set()

    def look(self) -> Topic | None:
        """Ask again where it is old."""
        broker = self._broker
        if broker.serving and broker.clock.now - self._at >= self._most_seconds:
            self._at, self.known = broker.clock.now, broker.topic
            self.partitions = set(range(len(broker.topic.logs)))
        return self.known

    def partitions_for_topic(self, name: str) -> set[int] | None:
        """As of the last metadata."""
        assert name == TOPIC
        return set(self.partitions) if self.look() else None

    def topic_id(self, name: str) -> str:
        """As of the last metadata."""
        assert name == TOPIC
        known = self.look()
        return known.id if known else ""

    def request_update(self) -> Future:
        """Ask at once; what is answered later settles the next asking."""
        self._at, answer = -1e9, Future()
        if self._broker.serving:
            self.look()
            answer.success(self)
        return answer


class Consumer:
    """Fetches ahead, passes markers in silence, and raises nothing while the broker is away."""

    def __init__(self, broker: Broker, config: Mapping[str, Any], told: Any) -> None:
        self._broker, self._told = broker, told
        self._uncommitted = config.get("isolation_level") == "read_uncommitted"
        self._places: dict[int, Place] = {}
        self._cluster = Cluster(broker, config.get("metadata_max_age_ms", 300_000) / 1000)
        self._subscription = SimpleNamespace(
            position=lambda place: OffsetAndMetadata(self._places[place.partition].position, "", -1)
        )
        self._fetcher = SimpleNamespace(  # what hears and bounds the real one's answers
            _parse_fetched_data=lambda _fetched: None, config=dict(config)
        )
        self._deaf, self._fetched_at = False, broker.clock.now

    def assign(self, places: Sequence[Any]) -> None:
        """Take these; those that were had stay where they are."""
        wanted = [place.partition for place in places]
        self._places = {number: self._places.get(number) or Place(-1) for number in wanted}

    def seek(self, place: Any, offset: int) -> None:
        """Go there; what was fetched ahead is dropped."""
        high = self._places[place.partition].high
        self._places[place.partition] = Place(offset, high=high)

    def poll(self, timeout_ms: int, max_records: int = 500) -> dict[Any, list[Raw]]:
        """What was fetched, else what a fetch brings in time.

        Raises:
            OffsetOutOfRangeError: the log lacks the next offset.
        """
        deadline = self._broker.clock.now + timeout_ms / 1000
        while True:
            given = self._given(max_records)
            left = deadline - self._broker.clock.now
            if given or left <= 0:
                return given
            if not self._fetch(left):
                self._broker.clock.sleep(min(left, FETCH_WAIT_SECONDS) if self._broker.serving else left)

    def _fetch(self, left_seconds: float) -> bool:
        """Ask for more; whether something may have come."""
        broker = self._broker
        self._deaf = self._deaf or broker.refusing
        if self._deaf or not broker.wait(left_seconds):
            return False
        if broker.clock.now < broker.throttled_until:
            self._told.throttled_until = broker.clock.now + 1.0
            if broker.draws.random() < 0.7:  # held back: this fetch brings nothing
                return False
        pending = broker.remade_at - self._fetched_at <= PENDING_SECONDS
        self._fetched_at = broker.clock.now
        if self._cluster.look() is not broker.topic and pending:  # it was told of the deletion
            self._cluster.request_update()
            return False
        led = [number for number in self._places if broker.led(number)]
        if led:
            self._told.fetches += 1
        came = [self._fetched(number) for number in led]
        return any(came)

    def _fetched(self, number: int) -> bool:
        place, logs = self._places[number], self._broker.topic.logs
        if number >= len(logs):
            return False
        log = logs[number]
        at = place.behind if place.buffer else place.position
        if not log.first <= at <= log.end:
            raise errors.OffsetOutOfRangeError({TopicPartition(TOPIC, number): at})
        place.high = log.end
        if self._uncommitted or place.buffer:
            return False
        if log.hides(at, self._broker.clock.now):
            self._hear(number, at, log, came=False)
            if log.corrupt:
                raise errors.CorruptRecordError
            return False
        records, place.behind = log.after(at, self._broker.draws.randint(1, 12), self._broker.clock.now)
        self._hear(number, at, log, came=place.behind > at)
        place.buffer.extend(records)
        if not records:
            place.position = place.behind
        return bool(records)

    def _hear(self, number: int, at: int, log: Log, *, came: bool) -> None:
        """What hears the real one's answers hears this one."""
        refused = log.corrupt and log.hides(at, self._broker.clock.now)
        answer = SimpleNamespace(
            error_code=errors.CorruptRecordError.errno if refused else 0,
            records=_BATCH if came else b"",
            high_watermark=log.end,
            last_stable_offset=log.readable,
        )
        place = TopicPartition(TOPIC, number)
        self._fetcher._parse_fetched_data(
            SimpleNamespace(
                topic_partition=place, fetched_offset=at, response_version=12, partition_data=answer
            )
        )

    def _given(self, most: int) -> dict[Any, list[Raw]]:
        """Some of what was fetched, of some partitions, in any order of them."""
        draws, given = self._broker.draws, dict[Any, list[Raw]]()
        numbers = [number for number, place in self._places.items() if place.buffer]
        draws.shuffle(numbers)
        for number in numbers[: draws.randint(1, 3)]:
            place, count = self._places[number], min(most, draws.randint(1, 8))
            taken = [place.buffer.popleft() for _ in range(min(count, len(place.buffer)))]
            most -= len(taken)
            if taken:
                place.position = taken[-1].offset + 1 if place.buffer else place.behind
                given[TopicPartition(TOPIC, number)] = [raw_of(record) for record in taken]
        return given

    def position(self, place: Any, timeout_ms: int = 0) -> int:
        """The next offset that `poll` would give, past markers."""
        assert timeout_ms == 0
        return self._places[place.partition].position

    def highwater(self, place: Any) -> int | None:
        """The end as of the last fetch."""
        return self._places[place.partition].high

    def beginning_offsets(self, places: Sequence[Any], timeout_ms: int) -> dict[Any, int]:
        """Asked of the broker."""
        self._ask(timeout_ms)
        return {place: self._broker.topic.logs[place.partition].first for place in places}

    def end_offsets(self, places: Sequence[Any], timeout_ms: int) -> dict[Any, int]:
        """Asked of the broker; what is readable, as a marker-blind client is told."""
        self._ask(timeout_ms)
        return {place: self._broker.topic.logs[place.partition].end for place in places}

    def _ask(self, timeout_ms: int) -> None:
        if not self._broker.wait(timeout_ms / 1000):
            raise errors.KafkaTimeoutError("no answer")

    def commit_async(self, offsets: Mapping[Any, Any], callback: Any) -> None:
        """Told at once where the broker serves, never where it does not."""
        if self._broker.serving:
            self._told_offsets(offsets)
            callback(offsets, None)

    def commit(self, offsets: Mapping[Any, Any], timeout_ms: int) -> None:
        """Asked of the broker."""
        self._ask(timeout_ms)
        self._told_offsets(offsets)

    def _told_offsets(self, offsets: Mapping[Any, Any]) -> None:
        self._broker.told({place.partition: entry.offset for place, entry in offsets.items()})

    def close(self, **_options: Any) -> None:
        """Let go."""
        self._places = {}
