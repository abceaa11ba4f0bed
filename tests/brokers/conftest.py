"""One broker of each kind for the whole session; every test has topics of its own."""

import shutil
from collections.abc import Iterator

import pytest

from streammeta.stream.embedded import EmbeddedBroker
from tests.brokers.broker import KAFKA, ApacheKafka, Broker


@pytest.fixture(scope="session")
def tansu() -> Iterator[Broker]:
    """The embedded broker of the quickstart."""
    with EmbeddedBroker() as embedded:
        broker = Broker(embedded.bootstrap_servers)
        yield broker
        broker.close()


@pytest.fixture(scope="session")
def secure_kafka_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApacheKafka]:
    """A real Apache Kafka with logins, TLS and ACLs."""
    if not KAFKA.exists():
        pytest.skip(f"no Apache Kafka beside the repository ({KAFKA.parent.name} folder is absent)")
    if shutil.which("java") is None:
        pytest.skip("Apache Kafka needs Java 17")
    kafka = ApacheKafka(tmp_path_factory.mktemp("kafka"))
    yield kafka
    kafka.close()


@pytest.fixture(scope="session")
def kafka_broker(secure_kafka_broker: ApacheKafka) -> Broker:
    """The same Apache Kafka at its open port, where a client may do everything."""
    return secure_kafka_broker.broker
