"""How the broker serves us is told within seconds, and truly: staged against a real Apache Kafka.

The daemon tells at once what `condition` says; each test states within how many seconds.
"""

import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from streammeta.errors import LoginRefused
from streammeta.events import Condition
from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import KAFKA, ApacheKafka, Settings, eventually, fresh
from tests.contracts.source import drain, values

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TOLD_SECONDS = 12.0
"""Within this long each fault is told; most within 6."""


def configs(kafka: ApacheKafka, *change: str) -> None:
    """Kafka's own tool, with the broker's open port."""
    where = ["--bootstrap-server", kafka.broker.bootstrap_servers]
    subprocess.run([KAFKA, "configs", *where, *change], check=True, capture_output=True)


def password(kafka: ApacheKafka, new: str) -> None:
    """Rotate the password of alice."""
    scram = f"SCRAM-SHA-256=[iterations=4096,password={new}]"
    configs(kafka, "--alter", "--entity-type", "users", "--entity-name", "alice", "--add-config", scram)


def told(source: KafkaSource, holds: Callable[[Condition], Any], seconds: float = TOLD_SECONDS) -> Condition:
    """What the source says as soon as it holds, polling meanwhile."""
    last: list[Condition] = []

    def so() -> bool:
        source.poll(0.1)
        last[:] = [source.condition(source.positions())]
        return bool(holds(last[0]))

    eventually(so, seconds)
    return last[0]


@pytest.fixture
def alices(secure_kafka_broker: ApacheKafka) -> Settings:
    """A topic that alice may read, under her login."""
    kafka = secure_kafka_broker
    topic, group = kafka.broker.create(fresh("service")), fresh("group")
    kafka.grant("TOPIC", topic, "READ", "DESCRIBE")
    kafka.grant("GROUP", group, "READ", "DESCRIBE")
    servers = kafka.facts["SASL_PLAINTEXT"]
    setting = Settings(servers, topic=topic, group_id=group, client=kafka.login())
    eventually(lambda: _starts(setting))
    return setting


def _starts(setting: Settings) -> bool:
    with closing(KafkaSource(setting)) as source:
        try:
            source.start({})
        except Exception:  # noqa: BLE001 - rights take a moment
            return False
        return True


def test_a_rotated_password(secure_kafka_broker: ApacheKafka, alices: Settings) -> None:
    """Refused is told within 12 s of the broker's return, borne for the grace, then raised; or it passes."""
    kafka = secure_kafka_broker
    kafka.broker.write(alices.topic, values("before", 3))
    with (
        closing(KafkaSource(alices)) as patient,
        closing(KafkaSource(replace(alices, refused_grace_seconds=2.0))) as short,
    ):
        for source in (patient, short):
            source.start({})
            drain(source, {0: 3})
        password(kafka, "rotated")
        try:
            kafka.kill()
            kafka.start()
            refused = told(patient, lambda now: now.service == "refused")
            assert "refused the login of user 'alice'" in refused.cause
            assert patient.lag({0: 3}) == {} or not refused.serving
            with pytest.raises(LoginRefused, match="sasl_plain_password"):
                told(short, lambda _: False)
        finally:
            password(kafka, kafka.facts["users"]["alice"])
        kafka.broker.write(alices.topic, values("after", 2))
        told(patient, lambda now: now.service == "served", 2 * TOLD_SECONDS)
        assert patient.positions() == {0: 5} or [r.offset for r in drain(patient, {0: 5})][-1] == 4


def expired(kafka: ApacheKafka) -> tuple[Path, str]:
    """Put an expired certificate in the place of the broker's; its file, and what was there."""
    folder = Path(kafka.facts["ca"]).parent
    store = folder / "server-keystore.pem"
    before = store.read_text()
    (folder / "index.txt").write_text("")
    (folder / "ca.conf").write_text(
        f"[ca]\ndefault_ca=x\n[x]\ndatabase={folder}/index.txt\nnew_certs_dir={folder}\nrand_serial=yes\n"
        "default_md=sha256\npolicy=p\nx509_extensions=e\n[p]\ncommonName=supplied\n"
        "[e]\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n"
    )
    names = ["-in", "server.csr", "-out", "old.pem", "-cert", "ca.pem", "-keyfile", "ca.key"]
    dates = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    command = ["openssl", "ca", "-batch", "-notext", "-config", "ca.conf", *names, *dates]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    store.write_text((folder / "server.key").read_text() + (folder / "old.pem").read_text())
    return store, before


def test_an_expired_certificate(
    secure_kafka_broker: ApacheKafka, alices: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Told in OpenSSL's words within 12 s of the broker's return; it passes with a new certificate."""
    kafka = secure_kafka_broker
    tls = kafka.login(security_protocol="SASL_SSL", ssl_cafile=kafka.facts["ca"])
    setting = replace(alices, bootstrap_servers=kafka.facts["SASL_SSL"], client=tls)
    with closing(KafkaSource(setting)) as source:
        source.start({})
        store, before = expired(kafka)
        kafka.kill()
        try:
            kafka.start()
            now = told(source, lambda now: now.service == "refused")
            assert "certificate has expired" in now.cause
            assert "authority" not in now.cause, "another CA is no remedy"
        finally:
            store.write_text(before)
            kafka.kill()
            kafka.start()
    caplog.clear()  # the records of refused connections hold their sockets


def test_dead_while_records_are_buffered(secure_kafka_broker: ApacheKafka) -> None:
    """A learner that still works through what it fetched says within 8 s that the broker is gone."""
    kafka = secure_kafka_broker
    topic = kafka.broker.create(fresh("buffered"))
    kafka.broker.write(topic, values("x", 3000))
    with closing(KafkaSource(kafka.broker.settings(topic=topic))) as source:
        source.start({})
        assert len(source.poll(5.0)) == 500
        kafka.hang()
        try:
            began = time.monotonic()
            eventually(lambda: source.condition(source.positions()).service == "away", 8.0)
            assert source.lag({0: 500}) == {}, "unknown is absent"
            assert len(source.poll(1.0)) == 500, "the buffers still give"
            assert time.monotonic() - began > 2.0
        finally:
            kafka.wake()
        told(source, lambda now: now.service == "served")


def test_a_quota_is_no_outage(secure_kafka_broker: ApacheKafka) -> None:
    """Throttled is told within 12 s, never away; records go on coming."""
    kafka, client = secure_kafka_broker, fresh("slow")
    topic = kafka.broker.create(fresh("quota"))
    quota = ["--entity-type", "clients", "--entity-name", client]
    configs(kafka, "--alter", *quota, "--add-config", "consumer_byte_rate=100000")
    kafka.broker.write(topic, [bytes(50_000)] * 40)
    fetch = {"client_id": client, "max_partition_fetch_bytes": 200_000, "fetch_max_bytes": 200_000}
    seen: set[str] = set()
    with closing(KafkaSource(kafka.broker.settings(topic=topic, client=fetch))) as source:
        source.start({})

        def throttled(now: Condition) -> bool:
            seen.add(now.service)
            return now.service == "throttled"

        now = told(source, throttled)
        assert "quota" in now.cause
        assert now.serving
        until = time.monotonic() + 7.0  # longer than a silence
        told(source, lambda now: throttled(now) and time.monotonic() > until)
        assert seen == {"served", "throttled"}
        assert source.lag({0: 0}) == {0: 40}


def test_an_open_transaction(secure_kafka_broker: ApacheKafka) -> None:
    """The partition behind it is named within 12 s, with the time since when; its records count as lag."""
    kafka = secure_kafka_broker
    topic = kafka.broker.create(fresh("open"), 2)
    servers = kafka.broker.bootstrap_servers
    with (
        closing(KafkaProducer(bootstrap_servers=servers, transactional_id=fresh("id"))) as producer,
        closing(KafkaSource(kafka.broker.settings(topic=topic))) as source,
    ):
        source.start({})
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(topic, value=b"held back", partition=1).get(timeout=120)
        began = time.time()
        kafka.broker.write(topic, values("behind", 4), partition=1)
        kafka.broker.write(topic, values("free", 2), partition=0)
        now = told(source, lambda now: now.blocked)
        assert list(now.blocked) == [1]
        assert abs(now.blocked[1] - began) < 4.0
        assert (now.service, now.readable) == ("served", False)
        assert source.positions()[0] == 2
        assert source.lag({0: 2, 1: 0}) == {0: 0, 1: 5}
        producer.abort_transaction()
        told(source, lambda now: not now.blocked)
        drain(source, {1: 6})


def test_a_deleted_user(secure_kafka_broker: ApacheKafka, alices: Settings) -> None:
    """A user that is gone is refused, as soon as a connection has to be made anew."""
    kafka = secure_kafka_broker
    user = ["--entity-type", "users", "--entity-name", "alice"]
    with closing(KafkaSource(alices)) as source:
        source.start({})
        configs(kafka, "--alter", *user, "--delete-config", "SCRAM-SHA-256")
        try:
            source._watch._hang_up()
            told(source, lambda now: now.service == "refused")
        finally:
            password(kafka, kafka.facts["users"]["alice"])
