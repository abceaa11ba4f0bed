"""What only Kafka has: transactions, commits for lag tools, records of any size; and when silence is told."""

import os
import time
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count

import pytest
from kafka import KafkaProducer, TopicPartition

from streammeta.codec import decode
from streammeta.errors import BadEvent, LostOffsets, Reason, StreammetaError
from streammeta.events import Record, Run
from streammeta.stream.kafka import reader, runs
from streammeta.stream.kafka import source as source_module
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.header_keys import HeaderKey
from streammeta.stream.kafka.silence import SILENCE_SECONDS, Silence
from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import Broker, Settings, eventually, fresh
from tests.contracts.source import drain, followed, values


@pytest.mark.kafka
def test_transactions(kafka_broker: Broker) -> None:
    """Aborted records are not seen, and the position passes the markers at the end: no lag is left."""
    topic = kafka_broker.create(fresh("transactions"))
    with closing(
        KafkaProducer(bootstrap_servers=kafka_broker.bootstrap_servers, transactional_id=fresh("id"))
    ) as producer:
        producer.init_transactions()
        for name, end in (
            ("kept", producer.commit_transaction),
            ("dropped", producer.abort_transaction),
        ):
            producer.begin_transaction()
            for value in values(name, 3):
                producer.send(topic, value=value, key=b"k")
            producer.flush()
            end()
    with closing(KafkaSource(kafka_broker.settings(topic=topic))) as source:
        source.start({})
        records = drain(source, {0: 8})
        assert [r.value for r in records] == values("kept", 3)
        assert source.lag(source.positions()) == {0: 0}
        assert source.ends() == {0: 8}


@pytest.mark.kafka
def test_gaps_that_compaction_left(kafka_broker: Broker) -> None:
    """The position passes them, whatever lies before and behind; a logged run over them is the same."""
    small = {"cleanup_policy": "compact", "segment_ms": "50", "min_cleanable_dirty_ratio": "0.001"}
    topic = kafka_broker.create(fresh("compacted"), 1, max_compaction_lag_ms="1", **small)
    settings = kafka_broker.settings(topic=topic)
    times = count(10_000, 1_000)  # a segment ends where the next record is later by its most
    for number in range(8):
        kafka_broker.write(topic, values(f"{number}-", 3), timestamp_ms=next(times))  # all of one key

    def compacted() -> list[Record]:
        kafka_broker.write(topic, [b"last"], timestamp_ms=next(times))
        with closing(KafkaSource(settings)) as source:
            source.start({0: 0})
            (end,) = source.ends().values()
            records = drain(source, {0: end})
            if len(records) == end:
                return []
            again = source.fetch(Run(0, 0, end))  # from which compaction may have taken more
            assert {*again} <= {*records}
            assert again[-1] == records[-1]
            assert source.positions() == {0: end}
            return records

    offsets = [record.offset for record in eventually(compacted, 90)]
    assert offsets == sorted(set(offsets))


@pytest.mark.parametrize("broker", ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def test_larger_than_an_event_may_be(broker: str, request: pytest.FixtureRequest) -> None:
    """A record beyond `max_event_bytes` reaches us whole, so that it can be set aside by name."""
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("large"), max_message_bytes=str(8 << 20))
    large = os.urandom(5 << 20)
    real.write(topic, [b"small", large, b"small again"])
    with closing(KafkaSource(real.settings(topic=topic, max_event_bytes=1000))) as source:
        source.start({})
        assert [r.value for r in drain(source, {0: 3})] == [b"small", large, b"small again"]


@pytest.mark.parametrize("broker", ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def test_what_is_fetched_ahead_is_bounded(
    broker: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much waits in however many partitions; a record larger than a partition's share comes, too."""
    monkeypatch.setattr(reader, "AHEAD_BYTES", 1 << 20)
    monkeypatch.setattr(source_module, "MAX_POLL_RECORDS", 7)
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("behind"), 8, max_message_bytes=str(8 << 20))
    small, large = [bytes([n]) * 10_000 for n in range(60)], b"x" * (3 << 20)
    for partition in range(8):
        real.write(topic, [*small, large, b"last"] if partition == 5 else small, partition)
    held = list[int]()
    with closing(KafkaSource(real.settings(topic=topic))) as source:
        fetched = source.start({}) and source._reader._consumer._fetcher._completed_fetches
        came = list[Record]()
        while len(came) < 8 * 60 + 2:
            came += eventually(lambda: source.poll(0.2))
            held.append(sum(len(one.partition_data.records or b"") for one in [*fetched]))
    assert sum(record.value == large for record in came) == 1
    assert len({(record.partition, record.offset) for record in came}) == len(came)
    assert sorted(held)[-4] > 300_000
    assert max(held) < (1 << 20) + len(large) + 8 * 20_000  # a batch more than its share for each


@pytest.mark.parametrize("broker", ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def test_a_header_key_that_is_no_text(broker: str, request: pytest.FixtureRequest) -> None:
    """It stops nothing: the record comes, is refused by name, and is set aside byte for byte."""
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("odd"))
    odd = HeaderKey(b"caf\xe9\xff".decode(errors="surrogateescape"))
    headers = [[("é", b"1")], [("a", b"0"), (odd, b"\xff"), ("é", b"2")], [(odd, b"")], [("é", b"3")]]
    for header in headers:
        real.producer.send(topic, value=b"{}", key=b"k", headers=header)
    real.producer.flush()
    setting = real.settings(topic=topic, dead_letter_topic=f"{topic}.dlq")
    with closing(KafkaSource(setting)) as source:
        source.start({})
        records = drain(source, {0: 4})
    assert [list(r.headers) for r in records] == headers
    with pytest.raises(BadEvent, match=r"header key is not UTF-8.*udce9") as refusal:
        decode(records[1], max_bytes=100)
    assert refusal.value.reason is Reason.UNDECODABLE
    with closing(KafkaDeadLetters(setting)) as letters:
        letters.send(records[1], refusal.value)
        letters.flush()
    with closing(KafkaSource(replace(setting, topic=setting.dead_letter_topic))) as source:
        source.start({})
        (dead,) = drain(source, {0: 1})
    assert [(key.encode(), content) for key, content in dead.headers[:3]] == [
        (b"a", b"0"),
        (b"caf\xe9\xff", b"\xff"),
        ("é".encode(), b"2"),
    ]


def _sees_another(source: KafkaSource, identity: str) -> bool:
    return source._reader.topic_id() not in ("", identity)


@pytest.mark.parametrize("broker", ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def test_a_longer_topic_in_place_of_the_old_one(broker: str, request: pytest.FixtureRequest) -> None:
    """Every offset exists in it, only its id differs: seen as soon as the metadata tells it."""
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("longer"), 2)
    real.write(topic, values("old", 20))
    setting = real.settings(topic=topic, client={"metadata_max_age_ms": 200})
    with (
        closing(KafkaSource(setting)) as careful,
        closing(KafkaSource(replace(setting, on_lost_offsets="earliest"))) as patient,
    ):
        for source in (careful, patient):
            source.start({})
            drain(source, {0: 20})
        identity = patient.identity()
        real.recreate(topic, 2)
        real.write(topic, values("new", 40))
        for source in (careful, patient):
            eventually(partial(_sees_another, source, identity))
        with pytest.raises(LostOffsets, match=rf"re-created.*{identity}"):
            eventually(lambda: careful.poll(0.1))
        records = drain(patient, {0: 40})
        assert [r.value for r in records] == values("new", 40)
        assert patient.moved() == {0: 0, 1: 0}
        assert patient.identity() not in ("", identity)
        assert patient.moved() == {}


@pytest.mark.parametrize("broker", ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def test_a_longer_topic_while_nobody_asks(broker: str, request: pytest.FixtureRequest) -> None:
    """No fetch was there to be told of the deletion, the metadata is old: nothing comes as the old one's."""
    real: Broker = request.getfixturevalue(broker)
    topic = real.create(fresh("unseen"), 2)
    real.write(topic, values("old", 5))
    with closing(KafkaSource(replace(real.settings(topic=topic), on_lost_offsets="earliest"))) as source:
        source.start({})
        drain(source, {0: 5})
        drained_at = time.monotonic()
        real.recreate(topic, 2)
        real.write(topic, values("new", 20))
        eventually(lambda: time.monotonic() > drained_at + reader.UNASKED_SECONDS)
        records, _ = followed(source, 20)
        assert [r.value for r in records] == values("new", 20)


def test_a_run_beyond_the_end(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the log now ends within a run, the partition stands at that end, and what comes is read."""
    monkeypatch.setattr(runs, "TRUNCATED_SECONDS", 1.0)
    topic = tansu.create(fresh("cut"))
    tansu.write(topic, values("a", 20))
    setting = tansu.settings(topic=topic)
    waits: list[None] = []
    with closing(KafkaSource(replace(setting, on_lost_offsets="earliest"))) as patient:
        patient.start({0: 10})
        again = patient.fetch(Run(0, 10, 30), lambda: waits.append(None))
        assert [r.offset for r in again] == list(range(10, 20))
        assert patient.positions() == {0: 20}
        assert len(waits) > 3
        tansu.write(topic, values("b", 3))
        assert [r.value for r in drain(patient, {0: 23})] == values("b", 3)
    with closing(KafkaSource(setting)) as careful:
        careful.start({0: 10})
        with pytest.raises(LostOffsets, match=r"offset 30 .*0 up to 23"):
            careful.fetch(Run(0, 10, 30))


@pytest.mark.kafka
def test_offsets_are_committed_for_lag_tools(kafka_broker: Broker) -> None:
    """What was told last stands on the broker after closing, also when it was told just before."""
    topic, group = kafka_broker.create(fresh("lag"), 2), fresh("group")
    settings = kafka_broker.settings(topic=topic, group_id=group)
    with closing(KafkaSource(settings)) as source:
        source.start({})
        source.committed({0: 5, 1: 2})
        source.committed({0: 7, 1: 2})
    stored = kafka_broker.admin.list_group_offsets({group: None})[group]
    assert {p.partition: o.offset for p, o in stored.items()} == {0: 7, 1: 2}
    assert TopicPartition(topic, 0) in stored


@pytest.mark.kafka
def test_commits_never_raise(kafka_broker: Broker) -> None:
    """A commit for a partition that does not exist, or after closing, does no harm."""
    topic = kafka_broker.create(fresh("commits"))
    source = KafkaSource(kafka_broker.settings(topic=topic))
    source.committed({0: 1})
    source.start({})
    for _ in range(3):
        source.committed({0: 0, 99: 12})
        eventually(lambda: source.poll(0.05) == [])
    source.close()
    source.committed({0: 1})


def test_use_before_start() -> None:
    """A source that was not started says so, and is not connected."""
    source = KafkaSource(Settings("localhost:1"))
    assert not source.condition({}).serving
    with pytest.raises(StreammetaError, match="not started"):
        source.poll(0.0)
    source.close()


def test_a_slow_learner_is_no_silence() -> None:
    """Only time waited in vain counts: not polls that gave records, and nothing before an answer."""
    silence = Silence()
    for _ in range(1000):
        silence.listen(1.0, 0.0, received=False)
    silence.listen(1.0, 60.0, received=True)
    assert not silence.away
    silence.listen(1.0, SILENCE_SECONDS - 0.1, received=False)
    assert not silence.away
    silence.listen(1.0, 0.2, received=False)
    assert silence.away
    silence.listen(2.0, 0.2, received=False)
    assert not silence.away
