"""The doctor at real brokers: what it says of them, and that it leaves everything as it was."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from streammeta.programs.doctor.check import Check, exit_code
from streammeta.programs.doctor.examination import examine
from streammeta.runtime.blueprint import build_blueprint
from streammeta.stream.kafka.held import Held, held
from streammeta.stream.kafka.newest import newest
from tests.brokers.broker import ApacheKafka, Broker, eventually, fresh
from tests.programs.doctor.worlds import EPISODE, bytes_of, config_of, make_state

WRONG = {"sasl_plain_password": "wrong"}
VALUE = json.dumps(EPISODE).encode()


@pytest.fixture(params=["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each kind of broker."""
    found: Broker = request.getfixturevalue(request.param)
    return found


def examined(directory: Path, servers: str, topic: str, *settings: str, **client: Any) -> dict[str, Check]:
    """The checks by name."""
    tables = [f"kafka.client.{key}={json.dumps(value)}" for key, value in client.items()]
    config = config_of(
        directory,
        f"kafka.bootstrap_servers={servers}",
        f"kafka.topic={topic}",
        "kafka.group_id=doctored",
        *settings,
        *tables,
    )
    return {check.name: check for check in examine(config, 5)}


def test_newest_records(broker: Broker) -> None:
    """As many as asked for, dealt to the partitions, the last of each; by their times, each in its order."""
    topic = broker.create(fresh("newest"), partitions=3)
    broker.write(topic, [b"a%d" % n for n in range(10)], partition=0, timestamp_ms=1000)
    broker.write(topic, [b"b0"], partition=1, timestamp_ms=1008)
    settings = broker.settings(topic=topic)
    holds = held(settings, [0, 1, 2])
    assert [one.value for one in newest(settings, holds, 4)] == [b"a7", b"a8", b"b0", b"a9"]
    assert len(newest(settings, holds, 100)) == 11
    assert newest(settings, {2: holds[2]}, 4) == []


def test_offsets_that_no_record_follows(broker: Broker) -> None:
    """An end that never comes (an open transaction) is not waited for longer than some seconds."""
    topic = broker.create(fresh("open"))
    broker.write(topic, [b"a", b"b"])
    began = time.monotonic()
    assert len(newest(broker.settings(topic=topic, connect_timeout_seconds=120.0), {0: Held(0, 3)}, 3)) == 2
    assert time.monotonic() - began < 60


def test_all_fits_and_nothing_changes(broker: Broker, tmp_path: Path) -> None:
    """Every check is ok; topic, group, dead-letter topic and state directory stay as they were."""
    topic = broker.create(fresh("doctor"), partitions=2)
    broker.write(topic, [VALUE] * 3, partition=0)
    broker.write(topic, [VALUE] * 3, partition=1)
    config = config_of(tmp_path, f"kafka.topic={topic}")
    state = make_state(config, build_blueprint(config), positions={0: 3, 1: 1})
    before = bytes_of(state)
    cache = tmp_path / "cache"
    checks = examined(tmp_path, broker.bootstrap_servers, topic, f"engine.cache_dir={cache}")
    assert {check.name: check.words for check in checks.values() if check.verdict != "ok"} == {}
    assert not cache.exists()
    assert [*checks] == [
        "model",
        "http",
        "state",
        "disk",
        "broker",
        "group",
        "dead letters",
        "topic",
        "offsets",
        "records",
        "learning",
    ]
    assert checks["offsets"].facts == {"lag": 2}
    assert checks["learning"].facts["learned"] == 5
    assert bytes_of(state) == before
    assert {partition: log.end for partition, log in held(broker.settings(topic=topic), [0, 1]).items()} == {
        0: 3,
        1: 3,
    }
    assert broker.admin.describe_topics([f"{topic}.dlq"])[0]["error_code"] == 3
    assert topic not in str(_committed(broker))


def _committed(broker: Broker) -> object:
    """What the group of the configuration has committed, if it exists at all."""
    try:
        return broker.admin.list_group_offsets({"doctored": None})
    except Exception as error:  # noqa: BLE001 (there is no such group: brokers say so in ways of their own)
        return type(error).__name__


def test_a_topic_that_is_not_there(broker: Broker, tmp_path: Path) -> None:
    """Exit 69, with the command that creates it; nothing creates it."""
    topic = fresh("absent")
    checks = examined(tmp_path, broker.bootstrap_servers, topic)
    assert (checks["topic"].verdict, exit_code(checks.values())) == ("fault", 69)
    assert f"--create --topic {topic}" in checks["topic"].words
    assert "records" not in checks
    assert broker.admin.describe_topics([topic])[0]["error_code"] == 3


def test_where_answers_go(broker: Broker, tmp_path: Path) -> None:
    """A topic that is there may be written to, one that is not is the daemon's to make."""
    topic, output = broker.create(fresh("asked")), fresh("answers")
    broker.write(topic, [b'{"query": {"x": [[1.0]]}}', VALUE, VALUE])
    for words in ("does not exist yet: the daemon creates it", "may be written to"):
        if words == "may be written to":
            broker.create(output)
        settings = (f"predict.output_topic={output}", f"engine.cache_dir={tmp_path}")
        checks = examined(tmp_path, broker.bootstrap_servers, topic, *settings)
        assert (checks["answers"].verdict, checks["answers"].words) == ("ok", f"topic {output!r} {words}")
        assert checks["records"].verdict == "ok"


def test_offsets_that_the_log_has_lost(broker: Broker, tmp_path: Path) -> None:
    """The daemon would stop, exit 65; where it may go on, that is a warning."""
    topic = broker.create(fresh("lost"))
    broker.write(topic, [VALUE])
    config = config_of(tmp_path, f"kafka.topic={topic}")
    make_state(config, build_blueprint(config), positions={0: 7})
    checks = examined(tmp_path, broker.bootstrap_servers, topic)
    assert (checks["offsets"].verdict, exit_code(checks.values())) == ("fault", 65)
    checks = examined(tmp_path, broker.bootstrap_servers, topic, "kafka.on_lost_offsets=latest")
    assert (checks["offsets"].verdict, exit_code(checks.values())) == ("warning", 0)


@pytest.mark.kafka
def test_what_is_refused(secure_kafka_broker: ApacheKafka, tmp_path: Path) -> None:
    """A login, then each right on its own: exit 77, with what grants it."""
    servers, topic = secure_kafka_broker.facts["SASL_PLAINTEXT"], fresh("doctored")
    secure_kafka_broker.broker.create(topic)
    login = secure_kafka_broker.login(**WRONG)

    def told() -> bool:
        """The broker closes behind its answer: where this machine is slow, the client may see that first."""
        wrong = examined(tmp_path, servers, topic, **login)
        assert "'wrong'" not in str(wrong)
        return (
            exit_code(wrong.values()) == 77 and "refused the login of user 'alice'" in wrong["broker"].words
        )

    eventually(told)
    refused = examined(tmp_path, servers, topic, **secure_kafka_broker.login())
    assert exit_code(refused.values()) == 77
    assert "--operation Read --topic" in refused["topic"].words
    assert "--operation Read --group doctored" in refused["group"].words
    assert "--operation Write --topic" in refused["dead letters"].words


def test_nobody_listens(tmp_path: Path) -> None:
    """Exit 69 at the deadline; what can be said without a broker is said."""
    checks = examined(tmp_path, "127.0.0.1:1", "tasks", "kafka.connect_timeout_seconds=1")
    assert (checks["broker"].verdict, exit_code(checks.values())) == ("fault", 69)
    assert [*checks] == ["model", "http", "state", "disk", "broker"]
