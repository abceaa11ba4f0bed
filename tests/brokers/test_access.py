"""What kafka-python hides is told within seconds, by name and with the remedy."""

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import KafkaProducer, errors

from streammeta.errors import (
    BrokerRefused,
    BrokerUnavailable,
    ConfigError,
    LoginRefused,
    StreammetaError,
    TopicMissing,
)
from streammeta.stream.kafka.access import client_config, connect
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.refusals import without_secrets, words
from streammeta.stream.kafka.source import KafkaSource
from streammeta.stream.kafka.topics import ensure_topic
from tests.brokers.broker import ApacheKafka, Broker, Settings, eventually, fresh


def refusal(settings: Settings, kind: type[StreammetaError], within_seconds: float = 5.0) -> str:
    """Start a source that must fail; the message."""
    began = time.monotonic()
    with closing(KafkaSource(settings)) as source, pytest.raises(kind) as raised:
        source.start({})
    assert time.monotonic() - began < within_seconds
    assert raised.type is kind
    return str(raised.value)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address where nobody listens: bound, so that no one else takes it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


def test_nobody_listens(nobody: str) -> None:
    """A broker that is away is tried until the deadline, then named with its address and the cause."""
    began = time.monotonic()
    message = refusal(Settings(nobody, connect_timeout_seconds=1.0), BrokerUnavailable)
    assert time.monotonic() - began >= 1.0
    assert nobody in message
    assert "nobody listens" in message
    assert "kafka.bootstrap_servers" in message


def test_unknown_host() -> None:
    """A host name that does not resolve is told as that."""
    settings = Settings("no-such-host.invalid:9092", connect_timeout_seconds=1.0)
    message = refusal(settings, BrokerUnavailable)
    assert "no-such-host.invalid:9092" in message
    assert "host name is unknown" in message


def test_port_that_is_no_number() -> None:
    """A wrong address is a matter of the configuration."""
    assert "kafka.bootstrap_servers = 'localhost:abc'" in refusal(Settings("localhost:abc"), ConfigError)


def test_a_wait_can_be_ended(nobody: str) -> None:
    """A signal need not wait for the deadline."""
    answers = iter([True, True])
    source = KafkaSource(Settings(nobody), keep_going=lambda: next(answers, False))
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="stopped"):
        source.start({})
    assert time.monotonic() - began < 3.0


def test_missing_topic(tansu: Broker) -> None:
    """A topic that does not exist is named with the command that creates it, and not created."""
    topic = fresh("absent")
    message = refusal(tansu.settings(topic=topic), TopicMissing)
    assert f"--create --topic {topic}" in message
    assert tansu.admin.describe_topics([topic])[0]["error_code"] == 3


def test_kafka_python_stays_silent(nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of kafka-python's own log lines reaches the root logger; at level DEBUG they do."""
    shown: list[logging.LogRecord] = []
    handler = logging.Handler()
    monkeypatch.setattr(handler, "emit", shown.append)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    logging.getLogger("kafka").setLevel(logging.CRITICAL)
    message = refusal(Settings(nobody, connect_timeout_seconds=0.5), BrokerUnavailable)
    assert "nobody listens" in message
    assert shown == []
    logging.getLogger("kafka").setLevel(logging.DEBUG)
    refusal(Settings(nobody, connect_timeout_seconds=0.5), BrokerUnavailable)
    assert shown != []
    logging.getLogger("kafka").setLevel(logging.WARNING)


def test_client_keys_reach_the_clients_that_know_them() -> None:
    """Each client gets its own keys of `[kafka.client]`; ours that must hold are not overridden."""
    known = SimpleNamespace(DEFAULT_CONFIG={"ssl_cafile": None, "group_id": None, "retry_backoff_ms": 100})
    client = {"ssl_cafile": "ca.pem", "group_id": "other", "linger_ms": 5}
    config = client_config(known, Settings("a:1", client=client), {"retry_backoff_ms": 7}, {"group_id": None})
    assert config["ssl_cafile"] == "ca.pem"
    assert config["group_id"] is None
    assert config["retry_backoff_ms"] == 7
    assert config["bootstrap_servers"] == "a:1"
    assert "linger_ms" not in config


def test_ensure_topic_twice(tansu: Broker) -> None:
    """A topic is created once, with the partitions asked for, and left as it is the second time."""
    topic = fresh("ensured")
    assert ensure_topic(tansu.settings(), topic, 3).partitions == {0, 1, 2}
    assert ensure_topic(tansu.settings(), topic, 5).partitions == {0, 1, 2}


REFUSED_LOGINS = {
    "wrong password": ({"sasl_mechanism": "PLAIN", "sasl_plain_password": "x"}, "alice"),
    "wrong password, SCRAM": ({"sasl_plain_password": "x"}, "alice"),
    "unknown user": ({"sasl_plain_username": "bob"}, "bob"),
    "unknown mechanism": ({"sasl_mechanism": "FOO"}, "FOO"),
    "no login where one is needed": ({"security_protocol": "PLAINTEXT"}, "SASL_PLAINTEXT"),
}


@pytest.mark.kafka
@pytest.mark.parametrize("case", REFUSED_LOGINS)
def test_refused_login(secure_kafka_broker: ApacheKafka, case: str) -> None:
    """A refused login names the server and the user or the mechanism."""
    changes, named = REFUSED_LOGINS[case]
    server = secure_kafka_broker.facts["SASL_PLAINTEXT"]
    message = refusal(Settings(server, client=secure_kafka_broker.login(**changes)), LoginRefused)
    assert server in message
    assert named in message
    assert "[kafka.client]" in message
    assert "alice-secret" not in message


def tls(kafka: ApacheKafka, **changes: Any) -> dict[str, Any]:
    """The `[kafka.client]` table for the TLS port."""
    return {
        "security_protocol": "SSL",
        "ssl_cafile": kafka.facts["ca"],
        "ssl_certfile": kafka.facts["client_certificate"],
        "ssl_keyfile": kafka.facts["client_key"],
    } | changes


@pytest.mark.kafka
def test_untrusted_certificate(secure_kafka_broker: ApacheKafka) -> None:
    """An authority that is not trusted names `ssl_cafile`."""
    settings = Settings(secure_kafka_broker.facts["SSL"], client=tls(secure_kafka_broker, ssl_cafile=None))
    message = refusal(settings, LoginRefused)
    assert "not trusted" in message
    assert "ssl_cafile" in message


@pytest.mark.kafka
def test_missing_client_certificate(secure_kafka_broker: ApacheKafka) -> None:
    """A broker that asks for a client certificate names `ssl_certfile`."""
    client = tls(secure_kafka_broker, ssl_certfile=None, ssl_keyfile=None)
    message = refusal(Settings(secure_kafka_broker.facts["SSL"], client=client), LoginRefused)
    assert "client certificate" in message
    assert "ssl_certfile" in message


@pytest.mark.kafka
def test_certificate_of_another_host(secure_kafka_broker: ApacheKafka) -> None:
    """A certificate for another name says so."""
    port = secure_kafka_broker.facts["SSL"].rpartition(":")[2]
    settings = Settings(f"{socket.gethostname()}:{port}", client=tls(secure_kafka_broker))
    with socket.socket() as probe:
        if probe.connect_ex((socket.gethostname(), int(port))):
            pytest.skip("the broker listens on 127.0.0.1 alone, which this machine's name is not")
    message = refusal(settings, LoginRefused)
    assert "not trusted" in message
    assert "host name" in message


@pytest.mark.kafka
@pytest.mark.parametrize(("port", "protocol"), [("SSL", "PLAINTEXT"), ("PLAINTEXT", "SSL")])
def test_tls_on_one_side_only(secure_kafka_broker: ApacheKafka, port: str, protocol: str) -> None:
    """TLS to an open port, or none to a TLS port, names `security_protocol`."""
    client = tls(secure_kafka_broker, security_protocol=protocol)
    message = refusal(Settings(secure_kafka_broker.facts[port], client=client), LoginRefused)
    assert "TLS" in message
    assert "security_protocol" in message


@pytest.mark.kafka
def test_certificate_file_that_is_absent(secure_kafka_broker: ApacheKafka) -> None:
    """A file that does not exist is a matter of the configuration."""
    client = tls(secure_kafka_broker, ssl_cafile="/no/such/ca.pem")
    assert "/no/such/ca.pem" in refusal(
        Settings(secure_kafka_broker.facts["SSL"], client=client), ConfigError
    )


@pytest.mark.kafka
def test_rights_are_asked_for_one_by_one(secure_kafka_broker: ApacheKafka) -> None:
    """Each missing right is named with the command that grants it; with all of them all works."""
    kafka = secure_kafka_broker
    topic, group, dead = fresh("guarded"), fresh("group"), fresh("dead")
    kafka.broker.create(topic)
    settings = Settings(
        kafka.facts["SASL_PLAINTEXT"],
        topic=topic,
        group_id=group,
        dead_letter_topic=dead,
        client=kafka.login(),
    )
    nothing = refusal(settings, BrokerRefused)
    assert f"--allow-principal User:alice --operation Read --topic {topic}" in nothing
    kafka.grant("TOPIC", topic, "DESCRIBE")
    eventually(lambda: f"read topic '{topic}'" in refusal(settings, BrokerRefused))
    kafka.grant("TOPIC", topic, "READ")
    eventually(lambda: f"--operation Read --group {group}" in refusal(settings, BrokerRefused))
    kafka.grant("GROUP", group, "READ")
    with pytest.raises(BrokerRefused, match=f"--operation Write --topic {dead}"):
        KafkaDeadLetters(settings)
    kafka.grant("TOPIC", dead, "CREATE", "WRITE")
    eventually(lambda: _opens(settings))


def _opens(settings: Settings) -> bool:
    """Whether a source and dead letters start; a right just granted may take a moment."""
    try:
        with closing(KafkaSource(settings)) as source, closing(KafkaDeadLetters(settings)):
            source.start({})
    except BrokerRefused:
        return False
    return True


@pytest.mark.kafka
def test_a_right_revoked_while_running(secure_kafka_broker: ApacheKafka) -> None:
    """A source whose right is taken away says so instead of giving nothing for ever."""
    kafka = secure_kafka_broker
    topic, group = fresh("revoked"), fresh("group")
    kafka.broker.create(topic)
    kafka.grant("TOPIC", topic, "READ", "DESCRIBE")
    kafka.grant("GROUP", group, "READ")
    settings = Settings(kafka.facts["SASL_PLAINTEXT"], topic=topic, group_id=group, client=kafka.login())
    source = eventually(lambda: _started(settings))
    kafka.revoke("TOPIC", topic, "READ")

    def refused() -> bool:
        source.poll(0.1)
        return False

    with pytest.raises(BrokerRefused, match=f"--operation Read --topic {topic}"):
        eventually(refused)
    source.close()


def _started(settings: Settings) -> KafkaSource | None:
    source = KafkaSource(settings)
    try:
        source.start({})
    except BrokerRefused:
        source.close()
        return None
    return source


@pytest.mark.kafka
def test_a_topic_deleted_while_running(kafka_broker: Broker) -> None:
    """A source whose topic is deleted says so."""
    topic = kafka_broker.create(fresh("deleted"))
    with closing(KafkaSource(kafka_broker.settings(topic=topic))) as source:
        source.start({})
        kafka_broker.admin.delete_topics([topic])

        def vanished() -> bool:
            source.poll(0.1)
            return False

        with pytest.raises(TopicMissing, match=topic):
            eventually(vanished)


def test_a_secret_is_never_shown(tansu: Broker) -> None:
    """Settings that kafka-python cannot use are named without the passwords among them."""
    client = {"sasl_plain_password": "hunter2", "delivery_timeout_ms": 5}
    settings = Settings(tansu.bootstrap_servers, client=client)
    with pytest.raises(StreammetaError, match=r"\[kafka\.client\].*delivery_timeout_ms") as raised:
        connect(KafkaProducer, settings, client_config(KafkaProducer, settings))
    assert "hunter2" not in str(raised.value)
    quoted = "no 'hunter2' here, nor hun\\ter"
    hidden = without_secrets(Settings("127.0.0.1:1", client={"sasl_plain_password": "hunter2"}), quoted)
    assert hidden == "no '***' here, nor hun\\ter"


def test_an_error_without_words_has_its_name() -> None:
    """Nobody is told that the cause is "None"."""
    assert words(errors.KafkaTimeoutError(None)) == "KafkaTimeoutError"
    assert words(errors.KafkaTimeoutError("late")) == "late"
