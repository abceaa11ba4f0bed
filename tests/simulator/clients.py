"""Stands in for `Connected`, `KafkaAdminClient` and `KafkaProducer`, with what they hide.

A producer whose broker froze may never answer again; a letter may be written although nobody says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, errors
from kafka.protocol.consumer.offsets import OffsetSpec

from streammeta.events import Record
from tests.simulator.broker import TOPIC, Broker
from tests.simulator.consumer import Consumer

LETTERS = TOPIC + ".dlq"
WAIT_SECONDS = 0.5
"""The slices in which a connection is waited for."""


class SimulatedConnected:
    """As `Connected`: made when the broker can be reached, or failed at its deadline."""

    def __init__(self, broker: Broker, kind: Any, config: Mapping[str, Any]) -> None:
        self.client: Any = None
        self.error: Exception | None = None
        self.fetches = 0
        self.throttled_until = 0.0
        self._broker, self._kind, self._config = broker, kind, config
        self._deadline = broker.clock.now + config["bootstrap_timeout_ms"] / 1000

    def answered(self) -> float:
        """It counts fetches alone."""
        return float(self.fetches)

    def fetched(self) -> float:
        """As `Connected.fetched`."""
        return float(self.fetches)

    def wait(self, seconds: float) -> bool:
        """As `Connected.wait`, in longer slices."""
        broker = self._broker
        broker.clock.moment()
        if broker.refusing:
            self.error = errors.SaslAuthenticationFailedError("wrong password")
        elif broker.wait(max(seconds, WAIT_SECONDS)):
            self.client = self._made()
        elif broker.clock.now >= self._deadline or broker.clock.acting:
            self.error = errors.KafkaTimeoutError("Unable to bootstrap")
        return self.client is not None or self.error is not None

    def _made(self) -> Any:
        if self._kind is KafkaConsumer:
            return Consumer(self._broker, self._config, self)
        if self._kind is KafkaAdminClient:
            return Admin(self._broker)
        return Producer(self._broker, self._config)

    def give_up(self) -> None:
        """Nothing is open."""


class Admin:
    """Asks and is answered, or not in time."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def _ask(self, seconds: float = 10.0) -> None:
        if not self._broker.wait(seconds):
            raise errors.KafkaTimeoutError("no answer")

    def describe_topics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """One."""
        self._ask()
        topic, broker = self._broker.topic, self._broker
        events, written = names == [TOPIC], broker.clock.now >= broker.letters_until
        partitions = [
            {"partition_index": number, "leader_id": 0 if (broker.led(number) if events else written) else -1}
            for number in range(len(topic.logs))
        ]
        return [
            {
                "error_code": 0,
                "partitions": partitions,
                "authorized_operations": {"READ", "WRITE"},
                "topic_id": topic.id if events else "",
            }
        ]

    def describe_groups(self, groups: Sequence[str]) -> dict[str, Any]:
        """They may be read."""
        self._ask()
        return {group: {"authorized_operations": {"READ"}} for group in groups}

    def list_partition_offsets(
        self, wanted: Mapping[Any, OffsetSpec], isolation: int = 0, timeout_ms: int = 10_000
    ) -> dict[Any, Any]:
        """Ends, or newest timestamps."""
        self._ask(timeout_ms / 1000)
        found = {}
        for place, which in wanted.items():
            log = self._broker.topic.logs[place.partition]
            offset = log.readable if isolation else log.end
            newest = max((record.timestamp_ms for record in log.records()), default=-1)
            found[place] = SimpleNamespace(
                offset=offset, timestamp=newest if which == OffsetSpec.MAX_TIMESTAMP else -1
            )
        return found

    def close(self) -> None:
        """Let go."""


@dataclass(eq=False)
class Future:
    """An answer that comes, fails, or never comes."""

    broker: Broker
    resolved: bool = False
    exception: Exception | None = None

    def failed(self) -> bool:
        """Whether it failed."""
        return self.exception is not None

    def get(self, timeout: float) -> None:
        """Wait for it."""
        clock = self.broker.clock
        deadline = clock.now + timeout
        while not self.resolved and self.exception is None and clock.now < deadline:
            clock.sleep(min(0.02, deadline - clock.now))
        if self.exception is not None:
            raise self.exception
        if not self.resolved:
            raise errors.KafkaTimeoutError("no answer yet")


@dataclass(eq=False)
class Producer:
    """Sends beside the caller; what is sent twice is written twice."""

    broker: Broker
    config: Mapping[str, Any]
    closed: bool = False
    hangs: bool = False
    _sender: Any = field(init=False)

    def __post_init__(self) -> None:
        """What `close_producer` asks for."""
        self._sender = SimpleNamespace(force_close=lambda: None)
        self._due = 0.0
        self._freezes, self._life = self.broker.freezes, self.broker.life

    def partitions_for(self, topic: str) -> set[int]:
        """Known since it connected."""
        assert topic == LETTERS
        return set(range(len(self.broker.topic.logs)))

    def send(self, topic: str, *, value: Any, key: Any, headers: Any) -> Future:
        """Begin to write."""
        assert topic == LETTERS
        assert key is value
        assert not headers
        self.broker.clock.moment()
        future, clock = Future(self.broker), self.broker.clock
        deadline = clock.now + self.config["delivery_timeout_ms"] / 1000
        letter = Record(topic, 0, 0, 0, value.key, value.value, tuple(value.headers))
        self._due = max(self._due, clock.now + self.broker.draws.uniform(0.0, 0.01))
        clock.at(self._due, lambda: self._try(letter, future, deadline))
        return future

    def _try(self, letter: Record, future: Future, deadline: float) -> None:
        broker = self.broker
        clock, draws = broker.clock, broker.draws
        if self._freezes != broker.freezes:  # an idempotent producer may not come out of this
            self._freezes, self.hangs = broker.freezes, self.hangs or draws.random() < 0.5
            broker.unanswered += self.hangs
        if self.closed or self.hangs or self._life != broker.life:
            return
        if broker.serving and clock.now >= broker.letters_until:
            broker.letters.append(letter)
            if draws.random() >= broker.unheard:
                future.resolved = True
            else:
                broker.unanswered += 1
                future.exception = errors.KafkaConnectionError("broken while it was answered")
        elif clock.now >= deadline:
            broker.unanswered += 1
            future.exception = errors.KafkaTimeoutError("not delivered in time")
        else:
            clock.at(clock.now + 0.3, lambda: self._try(letter, future, deadline))

    def flush(self, timeout: float) -> None:
        """Wait a while."""
        self.broker.clock.sleep(min(timeout, 0.1))

    def close(self, timeout: float) -> None:
        """Give up what is under way."""
        assert timeout > 0
        self.closed = True
