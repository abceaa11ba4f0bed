"""`replay --to-kafka`: the topic that is made for old records, and the warning where one deletes them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from kafka import KafkaAdminClient
from structlog.testing import capture_logs

from streammeta.clock import Clock
from streammeta.errors import ConfigError
from streammeta.events import Record
from streammeta.recording.reader import Recording
from streammeta.sending.replayer import prepare
from streammeta.sending.transactions import Target
from streammeta.stream.kafka.access import connected
from streammeta.stream.kafka.topics import Administration
from tests.brokers.broker import Broker, fresh
from tests.recording.samples import stream, write

DAY_MS = 86_400_000


def prepared(broker: Broker, topic: str, folder: Path, records: Sequence[Record] | None = None) -> list[str]:
    """What is logged when a recording of three partitions, from 1970, shall go to the topic."""
    recording = Recording(write(folder / fresh("recording"), records or stream(30)))
    with capture_logs() as logs:
        prepare(Target(broker.settings(topic=topic), topic, "x"), recording, lambda: True, Clock())
    return [f"{line['event']} {line['remedy']}" for line in logs]


@pytest.mark.kafka
def test_a_topic_made_for_it_keeps_all(kafka_broker: Broker, tmp_path: Path) -> None:
    """Whatever the timestamps, with as many partitions as were recorded."""
    topic = fresh("made")
    assert prepared(kafka_broker, topic, tmp_path) == []
    settings = kafka_broker.settings(topic=topic)
    with connected(KafkaAdminClient, settings) as admin:
        administration = Administration(admin, settings)
        assert administration.retention_ms(topic) == -1
        assert administration.require_writable(topic).partitions == {0, 1, 2}


@pytest.mark.kafka
def test_a_topic_that_would_delete_them_is_named(kafka_broker: Broker, tmp_path: Path) -> None:
    """With the command that lets it keep them; one with too few partitions is refused."""
    topic = kafka_broker.create(fresh("there"), 3, retention_ms=str(DAY_MS))
    (warning,) = prepared(kafka_broker, topic, tmp_path)
    assert "may delete them at once" in warning
    assert f"--topic {topic} --add-config retention.ms=-1" in warning
    with pytest.raises(ConfigError, match="has 2 partitions, the recording 3"):
        prepared(kafka_broker, kafka_broker.create(fresh("small"), 2), tmp_path)


@pytest.mark.kafka
def test_a_topic_that_writes_its_own_times_is_named(kafka_broker: Broker, tmp_path: Path) -> None:
    """Before the first record, with the command that lets it keep those of the recording."""
    topic = kafka_broker.create(fresh("own"), 3, message_timestamp_type="LogAppendTime")
    (warning,) = prepared(kafka_broker, topic, tmp_path)
    assert "writes its own times" in warning
    assert f"--topic {topic} --add-config message.timestamp.type=CreateTime" in warning


@pytest.mark.kafka
@pytest.mark.parametrize(("side", "year_ms"), [("before", 0), ("after", 4_000_000_000_000)])
def test_a_topic_that_refuses_the_times(
    kafka_broker: Broker, side: str, year_ms: int, tmp_path: Path
) -> None:
    """It is refused before the first record, with the command that lets it take them."""
    name = f"message.timestamp.{side}.max.ms"
    topic = kafka_broker.create(fresh("strict"), 3, **{name.replace(".", "_"): "1000"})
    records = [record._replace(timestamp_ms=year_ms) for record in stream(30)]
    with pytest.raises(ConfigError, match=rf"more than 1000 ms {side}.*--add-config {name}=9"):
        prepared(kafka_broker, topic, tmp_path, records)
    assert prepared(kafka_broker, fresh("made"), tmp_path, records) == []
