"""Messages into a topic: at a rate, with a bound on what is under way, and every write accounted for.

Invariant: when `publish` returns, all that it counts was acknowledged by all replicas; else it raises, and
the error says how many were not. The first failed write ends the sending.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer, errors

from streammeta.errors import BrokerUnavailable, ConfigError, StreammetaError
from streammeta.sending.messages import Message
from streammeta.stream.kafka.access import KafkaSettings, always, client_config, connect
from streammeta.stream.kafka.refusals import missing_right, named
from streammeta.stream.kafka.topics import ensure_topic
from streammeta.stream.kafka.waits import close_producer

Placed = Callable[[Message, int, int], None]
"""Told of a message, its partition and its offset."""

UNDER_WAY_BYTES = 16 << 20
"""How much may wait for its acknowledgement; kafka-python itself would take any amount."""
_MESSAGE_OVERHEAD_BYTES = 1_000
"""What kafka-python keeps per message beside the data."""
_ARREARS_SECONDS = 1.0
_LOOK_SECONDS = 0.1
_AFTER_FAILURE_SECONDS = 5.0
SILENT_SECONDS = 45.0
"""How long none may be acknowledged while some are under way; kafka-python gives up after 30 s, or never."""
_HEADROOM_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Published:
    """What was sent and acknowledged; `bytes` are those of keys and values."""

    topic: str
    events: int
    bytes: int
    seconds: float

    @property
    def events_per_second(self) -> float:
        """The mean rate."""
        return self.events / self.seconds if self.seconds else 0.0


class Pace:
    """Spaces events evenly; after a delay at most a second's worth is made up.

    Args:
        rate: Events per second; None for as fast as it goes.
        clock: Monotonic seconds.
        wait: Waits up to that many seconds; True when the sending shall end.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float], wait: Callable[[float], bool]) -> None:
        self._gap_seconds = 1.0 / rate if rate else 0.0
        self._clock, self._wait = clock, wait
        self._due = clock()

    def turn(self, _due_seconds: float = 0.0) -> bool:
        """Wait until the next event is due, at the pace's own time; False when the sending shall end."""
        if not self._gap_seconds:
            return not self._wait(0.0)
        now = self._clock()
        self._due = max(self._due, now - _ARREARS_SECONDS)
        stop = self._wait(max(0.0, self._due - now))
        self._due += self._gap_seconds
        return not stop


class Schedule:
    """Sends each message when its own time has come, counted from the first; delays are made up.

    Args:
        clock: Monotonic seconds.
        wait: As for `Pace`.
    """

    def __init__(self, clock: Callable[[], float], wait: Callable[[float], bool]) -> None:
        self._clock, self._wait = clock, wait
        self._begun = clock()

    def turn(self, due_seconds: float) -> bool:
        """Wait until a message is due; False when the sending shall end."""
        return not self._wait(max(0.0, self._begun + due_seconds - self._clock()))


class Deliveries:
    """Counts what was handed over, acknowledged and refused; told by kafka-python's thread."""

    def __init__(
        self, limit_bytes: int = UNDER_WAY_BYTES, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.acknowledged_bytes = 0
        self.error: Exception | None = None
        """The first failure."""
        self._under_way_bytes = 0
        self._limit_bytes, self._clock = limit_bytes, clock
        self._moved_at = clock()
        self._changed = threading.Condition()

    def room(self, keep_going: Callable[[], bool]) -> bool:
        """Wait until one more message may be under way; False when there shall be no more."""
        with self._changed:
            while self._under_way_bytes >= self._limit_bytes and not self._over() and keep_going():
                self._changed.wait(_LOOK_SECONDS)
            return self.error is None and keep_going()

    def begin(self, message: Message, future: Any, placed: Placed | None = None) -> None:
        """Follow one message to its end, and tell where it is then."""
        weight_bytes = message.size_bytes + _MESSAGE_OVERHEAD_BYTES
        with self._changed:
            self.sent += 1
            self._moved_at = self._moved_at if self._under_way_bytes else self._clock()
            self._under_way_bytes += weight_bytes
        if placed is not None:
            future.add_callback(lambda place: placed(message, place.partition, place.offset))
        future.add_callback(lambda _: self._acknowledge(weight_bytes))
        future.add_errback(lambda error: self.fail(error, weight_bytes))

    def fail(self, error: Exception, weight_bytes: int = 0) -> None:
        """A message was refused; with weight 0 it could not even be handed over."""
        with self._changed:
            self.error = self.error or error
            self._under_way_bytes -= weight_bytes
            self._changed.notify()

    def settle(self) -> bool:
        """Wait until nothing is under way, after a failure for some seconds at most; whether that is so."""
        with self._changed:
            while self._under_way_bytes and not self._over():
                self._changed.wait(_LOOK_SECONDS)
            return self._changed.wait_for(lambda: not self._under_way_bytes, _AFTER_FAILURE_SECONDS)

    def _over(self) -> bool:
        """Whether a delivery failed; one that kafka-python has forgotten fails here."""
        if self.error is None and self._clock() - self._moved_at > SILENT_SECONDS:
            self.error = errors.KafkaTimeoutError(f"no acknowledgement for {SILENT_SECONDS:g} s")
        return self.error is not None

    def _acknowledge(self, weight_bytes: int) -> None:
        with self._changed:
            self._moved_at = self._clock()
            self.acknowledged += 1
            self.acknowledged_bytes += weight_bytes - _MESSAGE_OVERHEAD_BYTES
            self._under_way_bytes -= weight_bytes
            self._changed.notify()


def open_producer(
    settings: KafkaSettings, partitions: int = -1, keep_going: Callable[[], bool] = always
) -> Any:
    """A `KafkaProducer` whose writes are acknowledged by all replicas, and idempotent.

    `settings.topic` is created if it is missing, with `partitions` (-1: as many as the broker likes).

    Raises:
        BrokerUnavailable, BrokerRefused, ConfigError: each with its remedy.
    """
    topic = ensure_topic(settings, settings.topic, partitions, keep_going=keep_going)
    if topic.rights is not None and "WRITE" not in topic.rights:
        raise missing_right(settings, "Write", "topic", topic.name)
    defaults = {
        "linger_ms": 5,
        "batch_size": 65_536,
        "delivery_timeout_ms": 30_000,
        "request_timeout_ms": 15_000,
        "max_request_size": settings.max_event_bytes + _HEADROOM_BYTES,
    }
    config = client_config(KafkaProducer, settings, defaults, {"acks": "all", "enable_idempotence": True})
    return connect(KafkaProducer, settings, config, keep_going).client


def publish(
    stream: Iterable[Message],
    producer: Any,
    settings: KafkaSettings,
    pace: Pace | Schedule,
    clock: Callable[[], float],
    keep_going: Callable[[], bool] = always,
    placed: Placed | None = None,
) -> Published:
    """Send all of `stream` to `settings.topic`, wait for the acknowledgements, and close the producer.

    Args:
        stream: When the sending ends early, the last message taken from it was not sent.
        producer: As `open_producer` makes it; a partition is chosen by the key.
        settings: Names the topic; errors name its broker.
        pace: When to send.
        clock: Monotonic seconds.
        keep_going: Asked at least ten times a second; after a no, what was sent is waited for.
        placed: Told of each message that was acknowledged, by the producer's thread.

    Raises:
        BrokerUnavailable: not acknowledged in time.
        BrokerRefused: the right to write is missing.
        ConfigError: an event is larger than the broker takes.
    """
    begun, deliveries = clock(), Deliveries()
    settled = False
    try:
        _send(stream, producer, settings.topic, pace, deliveries, keep_going, placed)
        settled = deliveries.settle()
    finally:
        close_producer(producer, settled=settled)
    if deliveries.error is not None:
        raise _failure(deliveries, deliveries.error, settings) from deliveries.error
    return Published(settings.topic, deliveries.acknowledged, deliveries.acknowledged_bytes, clock() - begun)


def _send(
    stream: Iterable[Message],
    producer: Any,
    topic: str,
    pace: Pace | Schedule,
    deliveries: Deliveries,
    keep_going: Callable[[], bool],
    placed: Placed | None,
) -> None:
    for message in stream:
        if not (deliveries.room(keep_going) and pace.turn(message.due_seconds)):
            return
        try:
            future = producer.send(topic, message.value, message.key, message.headers)
        except errors.KafkaError as error:
            deliveries.fail(error)
            return
        deliveries.begin(message, future, placed)


def _failure(deliveries: Deliveries, error: Exception, settings: KafkaSettings) -> StreammetaError:
    """The first failure in our words, with the counts."""
    count = f"{deliveries.acknowledged} of {deliveries.sent} events were acknowledged"
    if isinstance(error, errors.TopicAuthorizationFailedError):
        return missing_right(settings, "Write", "topic", settings.topic)
    if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
        return ConfigError(
            f"an event is larger than topic {settings.topic!r} takes ({error}); {count}. Send fewer "
            "examples an event, or raise kafka.max_event_bytes and the topic's max.message.bytes."
        )
    text = str(error) or type(error).__name__
    return named(error, settings) or BrokerUnavailable(
        f"{settings.bootstrap_servers} did not take all events: {text}; {count}. Check it and send again."
    )
