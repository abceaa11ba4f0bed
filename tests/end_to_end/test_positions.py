"""Positions pass what holds no record: what transactions leave behind is neither lag nor a loss."""

import json
from contextlib import closing
from pathlib import Path

import pytest
from kafka import KafkaProducer

from streammeta.codec import CONTENT_TYPE, MSGPACK, encode_msgpack
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, succeed

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def transactions(broker: Broker, topic: str) -> int:
    """Three records committed, then three aborted; the end of the log, markers included."""
    stream = sinusoid(Sinusoids(tasks=2))
    with closing(
        KafkaProducer(bootstrap_servers=broker.bootstrap_servers, transactional_id=fresh("id"))
    ) as producer:
        producer.init_transactions()
        for end in (producer.commit_transaction, producer.abort_transaction):
            producer.begin_transaction()
            for _ in range(3):
                task, episode = next(stream)
                header = [(CONTENT_TYPE, MSGPACK.encode())]
                producer.send(topic, encode_msgpack(episode), task.encode(), header)
            producer.flush()
            end()
    return 8


def test_run_and_record_go_on_after_transactions_and_retention(kafka_broker: Broker, tmp_path: Path) -> None:
    """When all before the end expires, nothing was lost: both go on, and the group's lag is 0."""
    topic, group = kafka_broker.create(fresh("transactional")), fresh("group")
    end = transactions(kafka_broker, topic)
    settings = {
        "kafka.bootstrap_servers": kafka_broker.bootstrap_servers,
        "kafka.topic": topic,
        "kafka.group_id": group,
    }
    with Daemon(tmp_path / "state", settings) as daemon:
        recording = tmp_path / "recording"
        record = ["record", *daemon.arguments(), "--output", recording, "--until-end"]
        daemon.run_to_end()
        succeed(*record)
        stored = kafka_broker.admin.list_group_offsets({group: None})[group]
        assert {p.partition: o.offset for p, o in stored.items()} == {0: end}

        kafka_broker.expire(topic, 0, end)
        kafka_broker.write(topic, [b"{"])
        daemon.run_to_end()
        succeed(*record)
    assert sum(daemon.counts().values()) == 3
    manifest = json.loads((recording / "manifest.json").read_text())
    assert (manifest["rows"], manifest["next"]) == (4, {"0": end + 1})
