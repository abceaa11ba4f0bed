"""Batches that would stop a consumer, met on real brokers: bombs, garbage, a disk that is not sound."""

from contextlib import closing
from pathlib import Path

import pytest

from streammeta.errors import DamagedLog, Reason
from streammeta.events import Run
from streammeta.stream.kafka import withheld
from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import ApacheKafka, Broker, fresh, producer_of
from tests.contracts.source import drain

REAL = ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("broker", REAL)
def test_a_bomb_is_passed(broker: str, codec: str, request: pytest.FixtureRequest) -> None:
    """What expands beyond the limit is one record without content; what follows is read; again the same."""
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("bomb"), max_message_bytes=str(8 << 20))
    with closing(producer_of(real, codec)) as producer:
        for value in (b"small", bytes(20 << 20), b"after"):
            producer.send(topic, value=value, key=b"k").get(timeout=120)
    with closing(KafkaSource(real.settings(topic=topic, max_batch_bytes=4 << 20))) as source:
        source.start({})
        records = drain(source, {0: 3})
        again = source.fetch(Run(0, 1, 2))
    assert [record.value for record in records] == [b"small", None, b"after"]
    assert again == records[1:2]
    flaw = records[1].flaw
    assert flaw is not None
    assert (flaw.reason, records[1].offset, flaw.end) == (Reason.TOO_LARGE, 1, 2)


@pytest.fixture
def damaged(secure_kafka_broker: ApacheKafka) -> tuple[Broker, str]:
    """A topic of three batches, of which the one at offset 2 was changed on the broker's disk."""
    broker = secure_kafka_broker.broker
    topic = broker.create(fresh("damaged"))
    for value in (b"first", b"secret-second", b"third"):
        broker.write(topic, [value, value])
    (log,) = Path(secure_kafka_broker.data).rglob(f"{topic}-0/*.log")
    content = log.read_bytes()
    with log.open("r+b") as file:
        file.seek(content.index(b"secret-second"))
        file.write(b"S")
    return broker, topic


LENGTHS = {"behind the end": 1_000, "gone": 0, "negative": -7}
"""What a batch's length is forged to: the broker gives nothing for the first, "corrupt" for the others."""


@pytest.fixture(params=[("behind the end", 1), ("behind the end", 2), ("gone", 2), ("negative", 1)], ids=str)
def forged(secure_kafka_broker: ApacheKafka, request: pytest.FixtureRequest) -> tuple[Broker, str, int]:
    """A topic of three batches of two records, of which the second, or the last, has another length."""
    name, which = request.param
    broker = secure_kafka_broker.broker
    topic = broker.create(fresh("forged"))
    for value in (b"first", b"second", b"third"):
        broker.write(topic, [value, value])
    (log,) = Path(secure_kafka_broker.data).rglob(f"{topic}-0/*.log")
    content, at = log.read_bytes(), 0
    for _ in range(which):
        at += 12 + int.from_bytes(content[at + 8 : at + 12], signed=True)
    length = int.from_bytes(content[at + 8 : at + 12], signed=True)
    with log.open("r+b") as file:
        file.seek(at + 8)
        file.write((length + 1_000 if LENGTHS[name] > 0 else LENGTHS[name]).to_bytes(4, signed=True))
    return broker, topic, 2 * which


@pytest.mark.kafka
def test_a_batch_whose_length_is_forged(
    forged: tuple[Broker, str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the last of a fetch: named, with remedies; or passed, each offset with a word of its own."""
    broker, topic, first = forged
    written = [value for value in (b"first", b"second", b"third") for _ in range(2)]
    monkeypatch.setattr(withheld, "PATIENCE_SECONDS", 1.0)
    with closing(KafkaSource(broker.settings(topic=topic))) as source:
        source.start({})
        with pytest.raises(DamagedLog, match=r"partition 0: the batch at offset [1-4]") as told:
            drain(source, {0: 6})
    assert 'kafka.on_corrupt to "skip"' in str(told.value)
    with closing(KafkaSource(broker.settings(topic=topic, on_corrupt="skip"))) as source:
        source.start({})
        passed = drain(source, {0: 6})
        assert source.positions() == {0: 6}
        again = source.fetch(Run(0, first, 6))
    assert [record.offset for record in passed] == [*range(6)]
    assert [record.offset for record in again] == [*range(first, 6)]
    assert passed[0].value == b"first"
    assert all(record.value in (None, written[record.offset]) for record in passed)
    assert all(record.flaw for record in (*passed[first:], *again))


@pytest.mark.kafka
def test_a_damaged_batch_is_named(damaged: tuple[Broker, str]) -> None:
    """What lies before it is given; then partition, offsets and remedies are told, again at each start."""
    broker, topic = damaged
    for _ in range(2):
        with closing(KafkaSource(broker.settings(topic=topic))) as source:
            source.start({0: 1})
            assert [record.value for record in drain(source, {0: 2})] == [b"first"]
            with pytest.raises(DamagedLog) as told:
                drain(source, {0: 6})
    assert f"topic '{topic}' partition 0: the batch at offsets 2 to 3 is damaged" in str(told.value)
    assert 'kafka.on_corrupt to "skip"' in str(told.value)
    assert told.value.exit_code == 65


@pytest.mark.kafka
def test_a_damaged_batch_is_passed_when_that_is_wanted(damaged: tuple[Broker, str]) -> None:
    """It is one record without content, and the rest is read."""
    broker, topic = damaged
    with closing(KafkaSource(broker.settings(topic=topic, on_corrupt="skip"))) as source:
        source.start({})
        records = drain(source, {0: 6})
    assert [(record.offset, record.value) for record in records] == [
        (0, b"first"),
        (1, b"first"),
        (2, None),
        (4, b"third"),
        (5, b"third"),
    ]
