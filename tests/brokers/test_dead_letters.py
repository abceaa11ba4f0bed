"""Dead letters: byte for byte, acknowledged, refused by name, and not lost when the broker crashes."""

import os
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import pairwise
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kafka import KafkaConsumer, TopicPartition, errors
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata

from streammeta.errors import BadEvent, BrokerRefused, DeadLetterFailed, Reason
from streammeta.events import Flaw, Record
from streammeta.stream.kafka import outbox
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.letter import HEADER_PREFIX, MESSAGE_BYTES, OMITTED, error_headers
from tests.brokers.broker import ApacheKafka, Broker, Settings, eventually, fresh

REFUSAL = BadEvent(Reason.BAD_TENSOR, "x: 3 numbers for shape [2, 2]")


def records_of(broker: Broker, topic: str, count: int) -> list[Any]:
    """The first `count` records of a topic."""
    with closing(
        KafkaConsumer(bootstrap_servers=broker.bootstrap_servers, max_partition_fetch_bytes=1 << 26)
    ) as consumer:
        places = [TopicPartition(topic, p) for p in eventually(lambda: consumer.partitions_for_topic(topic))]
        consumer.assign(places)
        consumer.seek_to_beginning()
        found: list[Any] = []

        def enough() -> bool:
            for batch in consumer.poll(100).values():
                found.extend(batch)
            return len(found) >= count

        eventually(enough)
        return found


def prepared(broker: Broker, **changes: Any) -> Settings:
    """Settings with a source topic of its own; the dead-letter topic does not exist yet."""
    topic = broker.create(fresh("tasks"), 2)
    return broker.settings(topic=topic, dead_letter_topic=f"{topic}.dlq", **changes)


def written(broker: Broker, setting: Settings, records: Sequence[Record]) -> list[Any]:
    """What stands in the dead-letter topic after these were sent."""
    with closing(KafkaDeadLetters(setting)) as letters:
        for record in records:
            letters.send(record, REFUSAL)
        letters.flush()
    return records_of(broker, setting.dead_letter_topic, len(records))


HANG_SECONDS = 8.0
BROKERS = ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)]

raw = st.none() | st.binary(max_size=60)
dead = st.builds(
    Record,
    topic=st.just("tasks"),
    partition=st.integers(0, 9),
    offset=st.integers(0, 2**62),
    timestamp_ms=st.just(0),
    key=raw,
    value=raw,
    headers=st.lists(st.tuples(st.text(max_size=9), raw), max_size=4).map(tuple),
    flaw=st.none(),
)


@pytest.mark.parametrize("broker", BROKERS)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(records=st.lists(dead, min_size=1, max_size=20))
def test_byte_for_byte(broker: str, request: pytest.FixtureRequest, records: list[Record]) -> None:
    """Key, value and headers arrive as they were, null where null, with where and why after them."""
    real: Broker = request.getfixturevalue(broker)
    found = written(real, prepared(real), records)
    expected = sorted(repr((r.key, r.value, [*r.headers, *error_headers(r, REFUSAL)])) for r in records)
    assert sorted(repr((f.key, f.value, list(f.headers))) for f in found) == expected


def test_headers_tell_where_and_why() -> None:
    """The headers of the contract; the message is bounded and stays UTF-8."""
    record = Record("tasks", 3, 17, 0, b"k", b"v")
    headers = dict(error_headers(record, BadEvent(Reason.UNDECODABLE, "é" * 4000)))
    assert {name.removeprefix(HEADER_PREFIX) for name in headers} == {
        *("topic", "partition", "offset", "stage", "reason", "message")
    }
    assert headers[HEADER_PREFIX + "topic"] == b"tasks"
    assert headers[HEADER_PREFIX + "partition"] == b"3"
    assert headers[HEADER_PREFIX + "offset"] == b"17"
    assert headers[HEADER_PREFIX + "stage"] == b"decode"
    assert headers[HEADER_PREFIX + "reason"] == b"undecodable"
    message = headers[HEADER_PREFIX + "message"]
    assert message is not None
    assert message.decode() == "é" * (MESSAGE_BYTES // 2)
    odd = dict(error_headers(record, BadEvent(Reason.UNDECODABLE, "\udc80" + "é" * 4000)))
    assert len(odd[HEADER_PREFIX + "message"] or b"") <= MESSAGE_BYTES


@pytest.mark.parametrize("broker", BROKERS)
def test_the_topic_is_made_like_the_source(broker: str, request: pytest.FixtureRequest) -> None:
    """A missing dead-letter topic gets the partitions of the source topic, and takes its largest records."""
    real: Broker = request.getfixturevalue(broker)
    setting = prepared(real)
    large = Record(setting.topic, 0, 0, 0, b"k", os.urandom(1_048_000))
    (found,) = written(real, setting, [large])
    assert found.value == large.value
    (topic,) = real.admin.describe_topics([setting.dead_letter_topic])
    assert len(topic["partitions"]) == 2


def left_out(found: Any) -> tuple[bytes | None, bytes | None, dict[str, bytes]]:
    """Key, value and headers of a letter."""
    return found.key, found.value, dict(found.headers)


@pytest.mark.kafka
def test_what_the_topic_cannot_take_is_kept_without_its_value(kafka_broker: Broker) -> None:
    """A letter too large for its topic is written without its value, and says so; others are whole."""
    setting = prepared(kafka_broker)
    kafka_broker.create(setting.dead_letter_topic, max_message_bytes="2000")
    header = ("big", os.urandom(3000))
    records = [
        Record(setting.topic, 0, 0, 0, b"k", b"sound"),
        Record(setting.topic, 0, 1, 0, b"k", os.urandom(9000), (("own", b"1"),)),
        Record(setting.topic, 0, 2, 0, b"k", os.urandom(9000), (header,)),
        Record(setting.topic, 0, 3, 0, b"k", b"sound too"),
    ]
    with structlog.testing.capture_logs() as logged:
        found = sorted(written(kafka_broker, setting, records), key=lambda letter: letter.offset)
    whole = {letter.value for letter in found if letter.value}
    assert whole == {b"sound", b"sound too"}
    (one, (other_key, other_value, other)) = [left_out(letter) for letter in found if not letter.value]
    key, value, headers = one
    assert (key, value, headers["own"], headers[OMITTED]) == (b"k", b"", b"1", b"value")
    assert b"the value of 9000 bytes is left out" in headers[HEADER_PREFIX + "message"]
    assert (other_key, other_value) == (f"{setting.topic}/0/2".encode(), b"")
    assert other[OMITTED] == b"key,value,headers"
    assert "big" not in other
    events = [line["event"] for line in logged]
    assert events[0] == "dead-letter topic does not take every record whole"
    assert logged[0]["setting"] == "max.message.bytes=2000"
    assert "max.message.bytes=" in logged[0]["remedy"]
    assert events.count("dead letter sent without its content") == 3


@pytest.mark.kafka
def test_a_compacted_topic_takes_letters_without_keys(kafka_broker: Broker) -> None:
    """A record without a key gets the place that it came from as its letter's key; the topic is warned of."""
    setting = prepared(kafka_broker)
    kafka_broker.create(setting.dead_letter_topic, cleanup_policy="compact")
    records = [
        Record(setting.topic, 0, 0, 0, b"k", b"with"),
        Record(setting.topic, 0, 7, 0, None, b"without"),
    ]
    with structlog.testing.capture_logs() as logged:
        found = written(kafka_broker, setting, records)
    assert {letter.key: letter.value for letter in found} == {
        b"k": b"with",
        f"{setting.topic}/0/7".encode(): b"",
    }
    assert logged[0]["setting"] == "cleanup.policy=compact"


def test_what_the_client_cannot_send_is_kept_without_its_value(tansu: Broker) -> None:
    """A letter that the producer itself refuses is written without its value."""
    setting = prepared(tansu, client={"max_request_size": 4000})
    found = written(tansu, setting, [Record(setting.topic, 0, 0, 0, b"k", bytes(9000))])
    assert [left_out(letter)[:2] for letter in found] == [(b"k", b"")]


@pytest.mark.kafka
def test_a_topic_that_takes_no_letter_at_all(kafka_broker: Broker) -> None:
    """That is a failure with the remedy, again at the next flush."""
    setting = prepared(kafka_broker)
    kafka_broker.create(setting.dead_letter_topic, max_message_bytes="100")
    with closing(KafkaDeadLetters(setting)) as letters:
        letters.send(Record(setting.topic, 0, 0, 0, b"k", os.urandom(9000)), REFUSAL)
        for _ in range(2):
            with pytest.raises(DeadLetterFailed, match=rf"{setting.dead_letter_topic}.*max.message.bytes"):
                letters.flush()


@pytest.mark.parametrize("broker", BROKERS)
def test_a_record_that_could_not_be_had(broker: str, request: pytest.FixtureRequest) -> None:
    """Its letter has its key and an empty value, and says what is missing."""
    real: Broker = request.getfixturevalue(broker)
    setting = prepared(real)
    flaw = Flaw(Reason.TOO_LARGE, "a bomb", 9)
    (found,) = written(real, setting, [Record(setting.topic, 0, 3, 0, b"k", None, (), flaw)])
    key, value, headers = left_out(found)
    assert (key, value, headers[OMITTED]) == (b"k", b"", b"value,headers")


def test_what_cannot_be_begun_is_told(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A producer that takes nothing is waited for, with a warning and a sign to who asked for one."""
    setting, waits = prepared(tansu), list[int]()
    with closing(KafkaDeadLetters(setting)) as letters:
        monkeypatch.setattr(outbox, "UNTOLD_SECONDS", 0.0)
        send = letters._producer.send

        def timed_out(*_arguments: Any, **_options: Any) -> Any:
            raise errors.KafkaTimeoutError("no metadata")

        def wait() -> None:
            waits.append(1)
            if len(waits) == 3:
                letters._producer.send = send

        letters._producer.send = timed_out
        with structlog.testing.capture_logs() as logged:
            letters.send(Record(setting.topic, 0, 0, 0, b"k", b"v"), REFUSAL)
            letters.flush(wait)
        assert len(waits) >= 3
        assert [(line["log_level"], line["cause"]) for line in logged] == [("warning", "no metadata")]
    assert [f.value for f in records_of(tansu, setting.dead_letter_topic, 1)] == [b"v"]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_hanging_broker_is_told_and_left(secure_kafka_broker: ApacheKafka) -> None:
    """Waits are told while it says nothing; a stop ends them, and closing then neither raises nor hangs."""
    kafka, going, waits = secure_kafka_broker, threading.Event(), list[float]()
    going.set()
    setting = prepared(kafka.broker)
    letters = KafkaDeadLetters(setting, keep_going=going.is_set)
    kafka.hang()
    try:

        def wait() -> None:
            waits.append(time.monotonic())
            if waits[-1] - waits[0] > 3.0:
                going.clear()

        letters.send(Record(setting.topic, 0, 0, 0, b"k", b"v"), REFUSAL)
        with pytest.raises(DeadLetterFailed, match="stopped before 1"):
            letters.flush(wait)
        assert max(b - a for a, b in pairwise(waits)) < 2.0
        began = time.monotonic()
        letters.close()
        letters.close()
        assert time.monotonic() - began < 10.0
    finally:
        kafka.wake()
    eventually(lambda: kafka.broker.admin.describe_topics([setting.topic]))


def test_a_producer_that_never_answers_is_replaced(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future that neither succeeds nor fails is given up after its deadline."""
    monkeypatch.setattr(outbox, "OVERDUE_SECONDS", 0.1)
    setting = prepared(tansu, client={"request_timeout_ms": 300, "delivery_timeout_ms": 400})
    unending = FutureRecordMetadata(FutureProduceResult(None), 0, 0, None, 1, 1, 0)
    with closing(KafkaDeadLetters(setting)) as letters:
        letters._producer.send = lambda *_arguments, **_options: unending
        letters.send(Record(setting.topic, 0, 0, 0, b"k", b"v"), REFUSAL)
        began = time.monotonic()
        letters.flush()
        assert 0.5 <= time.monotonic() - began < 10.0
    assert [f.value for f in records_of(tansu, setting.dead_letter_topic, 1)] == [b"v"]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_letter_that_a_hang_swallowed(
    secure_kafka_broker: ApacheKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A producer whose delivery timed out in a hang never answers again: another one sends the letter.

    Acknowledged within delivery_timeout_ms and the overdue seconds (20 s by default) after the hang.
    """
    monkeypatch.setattr(outbox, "OVERDUE_SECONDS", 1.0)
    kafka, patience = secure_kafka_broker, {"request_timeout_ms": 1000, "delivery_timeout_ms": 2000}
    setting = prepared(kafka.broker, client=patience)
    with closing(KafkaDeadLetters(setting)) as letters:
        letters.send(Record(setting.topic, 0, 0, 0, b"k", b"before"), REFUSAL)
        letters.flush()
        kafka.hang()
        waker = threading.Timer(HANG_SECONDS, kafka.wake)
        waker.start()
        letters.send(Record(setting.topic, 0, 1, 0, b"k", b"meanwhile"), REFUSAL)
        began = time.monotonic()
        flushing = threading.Thread(target=letters.flush, daemon=True)
        flushing.start()
        flushing.join(HANG_SECONDS + 10.0)
        assert not flushing.is_alive(), "the letter is waited for without end"
        assert time.monotonic() - began > HANG_SECONDS
    found = {f.value for f in records_of(kafka.broker, setting.dead_letter_topic, 2)}
    assert found == {b"before", b"meanwhile"}


@pytest.mark.kafka
def test_a_right_revoked_while_running(secure_kafka_broker: ApacheKafka) -> None:
    """A letter refused for a missing right is a failure that names the right."""
    kafka = secure_kafka_broker
    topic = kafka.broker.create(fresh("tasks"))
    name = kafka.broker.create(f"{topic}.dlq")
    kafka.grant("TOPIC", name, "WRITE", "DESCRIBE")
    setting = Settings(
        kafka.facts["SASL_PLAINTEXT"], topic=topic, dead_letter_topic=name, client=kafka.login()
    )
    letters = eventually(lambda: _opened(setting))
    kafka.revoke("TOPIC", name, "WRITE")

    def refused() -> bool:
        letters.send(Record(topic, 0, 0, 0, b"k", b"v"), REFUSAL)
        letters.flush()
        return False

    with pytest.raises(DeadLetterFailed, match=f"--operation Write --topic {name}"):
        eventually(refused)
    letters.close()


def _opened(setting: Settings) -> KafkaDeadLetters | None:
    try:
        return KafkaDeadLetters(setting)
    except BrokerRefused:
        return None


def test_a_producer_beyond_repair_is_replaced(tansu: Broker) -> None:
    """After a fatal producer-id error a new producer sends what was not acknowledged."""
    setting = prepared(tansu)
    with closing(KafkaDeadLetters(setting)) as letters:
        broken = letters._producer
        letters.send(Record(setting.topic, 0, 0, 0, b"k", b"first"), REFUSAL)
        letters.flush()
        broken._transaction_manager.transition_to_fatal_error(errors.InvalidProducerEpochError("fenced"))
        letters.send(Record(setting.topic, 0, 1, 0, b"k", b"second"), REFUSAL)
        letters.flush()
        assert letters._producer is not broken
    assert [f.value for f in records_of(tansu, setting.dead_letter_topic, 2)] == [b"first", b"second"]


@pytest.mark.kafka
@pytest.mark.slow
def test_a_crash_loses_no_letter(secure_kafka_broker: ApacheKafka) -> None:
    """Letters sent while the broker is away are acknowledged when it is back; a wait can be ended."""
    kafka = secure_kafka_broker
    setting = prepared(kafka.broker)
    going = threading.Event()
    going.set()
    with closing(KafkaDeadLetters(setting, keep_going=going.is_set)) as letters:
        letters.send(Record(setting.topic, 0, 0, 0, b"k", b"0"), REFUSAL)
        letters.flush()
        kafka.kill()
        try:
            for i in range(1, 20):
                letters.send(Record(setting.topic, 0, i, 0, b"k", b"%d" % i), REFUSAL)
            going.clear()
            with pytest.raises(DeadLetterFailed, match="stopped before 19"):
                letters.flush()
            going.set()
        finally:
            kafka.start()
        letters.flush()
    found = records_of(kafka.broker, setting.dead_letter_topic, 20)
    assert {f.value for f in found} == {b"%d" % i for i in range(20)}
