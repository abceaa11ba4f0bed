"""Sending: the rate, the bound on what is under way, the acknowledgements, and failures by name."""

import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.future import Future

from streammeta.codec import decode
from streammeta.config.kafka import KafkaSection
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.errors import BrokerUnavailable, ConfigError
from streammeta.events import Array, Episode, Record
from streammeta.sending.messages import FORMATS, Format, Message, messages
from streammeta.sending.publish import Deliveries, Pace, Published, open_producer, publish
from streammeta.stream.embedded.broker import EmbeddedBroker, broker_available


class FakeTime:
    """A clock that only waiting moves; every wait is remembered."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.stopped = False

    def clock(self) -> float:
        """Seconds."""
        return self.now

    def wait(self, seconds: float) -> bool:
        """As the sender waits."""
        self.waits.append(seconds)
        self.now += seconds
        return self.stopped


def small(number: int = 0) -> Message:
    """A message of ten bytes."""
    return Message(b"k", b"%09d" % number, [])


def arrays(episode: Episode[Array]) -> list[object]:
    """The numbers of an episode, as Python has them."""
    return [array.tolist() for array in (*episode.support, *episode.query)]


def at_once(_: float) -> bool:
    """Wait for nothing, never stop."""
    return False


def send(stream: Iterator[Message], settings: KafkaSection, partitions: int = -1) -> Published:
    """Publish as fast as it goes."""
    pace = Pace(None, time.monotonic, at_once)
    return publish(stream, open_producer(settings, partitions), settings, pace, time.monotonic)


def consumed(settings: KafkaSection) -> list[Record]:
    """All records of the topic, partition by partition."""
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    try:
        partitions = [
            TopicPartition(settings.topic, n) for n in consumer.partitions_for_topic(settings.topic)
        ]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends, found = consumer.end_offsets(partitions), list[Any]()
        while any(consumer.position(place) < end for place, end in ends.items()):
            found += [record for batch in consumer.poll(500).values() for record in batch]
        return [
            Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value, tuple(r.headers))
            for r in found
        ]
    finally:
        consumer.close()


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_sent_is_what_is_read(broker: str, form: Format) -> None:
    """Every event arrives once, with its numbers and in the order of its task."""
    settings = KafkaSection(bootstrap_servers=broker, topic=f"sent.{form}")
    sent = list(islice(sinusoid(Sinusoids(tasks=40, shots=2, query=3)), 300))
    published = send(messages(sent, form), settings, partitions=3)
    records = consumed(settings)
    assert (published.topic, published.events) == (settings.topic, 300)
    assert published.bytes == sum(len(r.key or b"") + len(r.value or b"") for r in records)
    assert {record.partition for record in records} == {0, 1, 2}
    events = [decode(record, max_bytes=1 << 20) for record in records]
    for task in {task for task, _ in sent}:
        wanted = [arrays(episode) for name, episode in sent if name == task]
        got = [arrays(event.episode) for event in events if event.task == task]
        assert got == wanted


def test_a_task_is_where_java_would_put_it(broker: str) -> None:
    """The partition is that of Kafka's own producer: murmur2, with the values of its own tests."""
    settings = KafkaSection(bootstrap_servers=broker, topic="partitions")
    murmur2 = {
        "21": -973932308,
        "foobar": -790332482,
        "abc": 479470107,
        "a-little-bit-long-string": -985981536,
    }
    send((Message(key.encode(), b"", []) for key in murmur2), settings, partitions=7)
    found = {(record.key or b"").decode(): record.partition for record in consumed(settings)}
    assert found == {key: (number & 0x7FFFFFFF) % 7 for key, number in murmur2.items()}


def test_events_are_evenly_spaced() -> None:
    """At 50 a second each event comes 0.02 s after the one before, the first at once."""
    fake = FakeTime()
    pace = Pace(50.0, fake.clock, fake.wait)
    times = []
    for _ in range(101):
        assert pace.turn()
        times.append(fake.now)
    assert times[0] == 0.0
    assert [b - a for a, b in pairwise(times)] == pytest.approx([0.02] * 100)


def test_work_between_events_does_not_slow_the_rate() -> None:
    """Time spent on an event is taken off the wait for the next one."""
    fake = FakeTime()
    pace = Pace(10.0, fake.clock, fake.wait)
    for _ in range(100):
        pace.turn()
        fake.now += 0.05
    assert fake.now == pytest.approx(9.95)


def test_after_a_stall_one_second_is_made_up() -> None:
    """A pause of a minute is followed by 10 events at once at 10 a second, not by 600."""
    fake = FakeTime()
    pace = Pace(10.0, fake.clock, fake.wait)
    pace.turn()
    fake.now += 60.0
    fake.waits.clear()
    for _ in range(50):
        pace.turn()
    assert sum(wait == 0.0 for wait in fake.waits) in (10, 11)
    assert fake.now == pytest.approx(60.0 + 3.9, abs=0.11)


@pytest.mark.parametrize("rate", [None, 5.0])
def test_a_stop_ends_the_pace(rate: float | None) -> None:
    """A wait that was ended by the user is the last one, with and without a rate."""
    fake = FakeTime()
    pace = Pace(rate, fake.clock, fake.wait)
    assert pace.turn()
    fake.stopped = True
    assert not pace.turn()


def after(calls: int, action: Callable[[], None]) -> Callable[[], bool]:
    """Asked whether to go on, says yes, and does `action` at the given call."""
    counter = iter(range(calls, -1, -1))

    def keep_going() -> bool:
        if next(counter, None) == 0:
            action()
        return True

    return keep_going


def test_a_full_window_waits_for_an_acknowledgement() -> None:
    """With a window of one message the second one has room only when the first is acknowledged."""
    deliveries, future = Deliveries(limit_bytes=1), Future()
    deliveries.begin(small(), future)
    acknowledged = threading.Event()

    def acknowledge() -> None:
        acknowledged.set()
        threading.Thread(target=future.success, args=(None,)).start()

    assert deliveries.room(after(2, acknowledge))
    assert acknowledged.is_set()
    assert (deliveries.sent, deliveries.acknowledged, deliveries.acknowledged_bytes) == (1, 1, 10)


def test_a_delivery_that_was_forgotten_ends_the_sending() -> None:
    """A future that never ends, as after a hang of the broker, is a failure after its deadline."""
    seconds = iter(range(0, 1000, 10))
    deliveries = Deliveries(limit_bytes=1, clock=lambda: float(next(seconds)))
    deliveries.begin(small(), Future())
    assert not deliveries.room(lambda: True)
    assert "no acknowledgement for 45 s" in str(deliveries.error)


def test_a_stop_ends_the_wait_for_room() -> None:
    """A broker that acknowledges nothing does not hold up Ctrl-C."""
    deliveries = Deliveries(limit_bytes=1)
    deliveries.begin(small(), Future())
    answers = iter([True, True, False, False])
    assert not deliveries.room(lambda: next(answers))


def test_the_first_failure_is_kept_and_ends_the_sending() -> None:
    """After a failed delivery there is no room, and later failures do not hide it."""
    deliveries, first, second = Deliveries(), Future(), Future()
    deliveries.begin(small(1), first)
    deliveries.begin(small(2), second)
    assert deliveries.room(lambda: True)
    first.failure(ValueError("first"))
    second.failure(ValueError("second"))
    assert not deliveries.room(lambda: True)
    assert str(deliveries.error) == "first"
    assert deliveries.settle()
    assert (deliveries.sent, deliveries.acknowledged) == (2, 0)


def test_no_more_is_sent_after_a_stop(broker: str) -> None:
    """What was sent before the stop is acknowledged and counted, and nothing comes after."""
    settings = KafkaSection(bootstrap_servers=broker, topic="stopped")
    left = iter(range(40))
    stop = lambda: next(left, None) is not None  # noqa: E731 - one line says it
    endless = messages(sinusoid(Sinusoids()), "msgpack")
    pace = Pace(None, time.monotonic, at_once)
    published = publish(endless, open_producer(settings), settings, pace, time.monotonic, stop)
    assert published.events == 40
    assert len(consumed(settings)) == 40


def test_too_large_an_event_is_named(broker: str) -> None:
    """An event above the limit ends the sending with the settings to raise; the ones before are counted."""
    settings = KafkaSection(bootstrap_servers=broker, topic="large", max_event_bytes=1)
    stream = iter([small(), small(), Message(b"k", b"x" * 200_000, []), small()])
    with pytest.raises(ConfigError, match=r"kafka\.max_event_bytes") as caught:
        send(stream, settings)
    assert "2 of 2 events were acknowledged" in str(caught.value)
    assert len(consumed(settings)) == 2


def test_a_broker_that_goes_away_is_named_with_the_count() -> None:
    """What is not acknowledged in time ends the sending: an error, how far it came, and no hanging close."""
    if not broker_available():
        pytest.skip("no embedded broker for this platform")
    broker = EmbeddedBroker()
    broker.start()
    client = {"delivery_timeout_ms": 600, "request_timeout_ms": 300, "linger_ms": 1}
    settings = KafkaSection(bootstrap_servers=broker.bootstrap_servers, topic="tasks", client=client)
    producer = open_producer(settings)

    def stream() -> Iterator[Message]:
        for number in range(100):
            yield small(number)
        producer.flush()
        broker.stop()
        for number in range(100):
            yield small(number)

    pace = Pace(None, time.monotonic, at_once)
    with pytest.raises(BrokerUnavailable, match=r"100 of 200 events were acknowledged"):
        publish(stream(), producer, settings, pace, time.monotonic)
    assert not producer._sender.is_alive()


def test_no_broker_is_named() -> None:
    """An address where nobody listens is named within the deadline."""
    settings = KafkaSection(bootstrap_servers="127.0.0.1:1", connect_timeout_seconds=0.3)
    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1"):
        open_producer(settings)
