"""One broker of each kind for the whole session; every test has topics of its own."""

import gc
import threading
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from streammeta.stream.embedded.broker import EmbeddedBroker
from tests.brokers.broker import ApacheKafka, Broker, absence

ENDING = ("kafka-watch", "kafka-look", "kafka-close", "kafka-connect")
"""Threads that end soon after what they serve is closed."""
LEAKED = "unclosed <(socket|ssl)"
"""kafka-python leaves the socket of a refused connection to the garbage collector, which warns of it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the collector find such sockets while a test of this folder runs."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.filterwarnings(f"ignore:{LEAKED}:ResourceWarning"))


def collect_sockets() -> None:
    """Find them now, so that no later test is blamed; first let the threads end that may hold some."""
    until = time.monotonic() + 10.0
    while time.monotonic() < until and any(one.name in ENDING for one in threading.enumerate()):
        time.sleep(0.02)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", LEAKED, ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def no_sockets_left() -> Iterator[None]:
    """After each test."""
    yield
    collect_sockets()


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
    if reason := absence():
        pytest.skip(reason)
    kafka = ApacheKafka(tmp_path_factory.mktemp("kafka"))
    yield kafka
    kafka.close()
    del kafka
    collect_sockets()


@pytest.fixture(scope="session")
def kafka_broker(secure_kafka_broker: ApacheKafka) -> Broker:
    """The same Apache Kafka at its open port, where a client may do everything."""
    return secure_kafka_broker.broker
