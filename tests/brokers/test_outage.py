"""A broker that crashes or hangs under a running source is survived, and shows in `connected`."""

import time
from contextlib import closing

import pytest

from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import ApacheKafka, eventually, fresh
from tests.contracts.source import drain, values

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def test_crash_and_restart(secure_kafka_broker: ApacheKafka) -> None:
    """Killed and started again: within 10 s not connected, then connected, every record given once."""
    kafka = secure_kafka_broker
    topic = kafka.broker.create(fresh("crash"))
    kafka.broker.write(topic, values("before", 40))
    with closing(KafkaSource(kafka.broker.settings(topic=topic))) as source:
        source.start({})
        records = drain(source, {0: 40})
        kafka.kill()
        try:
            eventually(lambda: source.poll(0.2) == [] and not source.condition({0: 0}).serving, 10.0)
            source.committed({0: 40})
            assert eventually(lambda: source.lag({0: 40}) == {}, 5.0), "unknown is absent"
        finally:
            kafka.start()
        eventually(lambda: source.poll(0.2) == [] and source.condition({0: 0}).serving, 15.0)
        kafka.broker.write(topic, values("after", 40))
        records += drain(source, {0: 80})
        assert [r.offset for r in records] == list(range(80))
        assert [r.value for r in records] == values("before", 40) + values("after", 40)


def test_hang(secure_kafka_broker: ApacheKafka) -> None:
    """A broker that keeps its connections but answers nothing counts as away within 10 s, and comes back."""
    kafka = secure_kafka_broker
    topic = kafka.broker.create(fresh("hang"))
    with closing(KafkaSource(kafka.broker.settings(topic=topic))) as source:
        source.start({})
        eventually(lambda: source.poll(0.1) == [])
        kafka.hang()
        try:
            began = time.monotonic()
            eventually(lambda: source.poll(0.2) == [] and not source.condition({0: 0}).serving, 10.0)
            assert time.monotonic() - began > 2.0
        finally:
            kafka.wake()
        eventually(lambda: source.poll(0.2) == [] and source.condition({0: 0}).serving, 10.0)
        kafka.broker.write(topic, values("after", 3))
        assert [r.offset for r in drain(source, {0: 3})] == [0, 1, 2]
