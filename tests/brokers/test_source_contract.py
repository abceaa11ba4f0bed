"""Both brokers keep the promises of a `Source`."""

from collections.abc import Sequence
from typing import Any

import pytest

from streammeta.stream.kafka.source import KafkaSource
from tests.brokers.broker import Broker, fresh
from tests.contracts.source import SourceContract


class Topic:
    """A topic of four partitions as the contract's `World`."""

    def __init__(self, broker: Broker, can: frozenset[str]) -> None:
        self._broker, self.can = broker, can
        self._partitions = 4
        self._topic = broker.create(fresh("contract"), self._partitions)

    def source(self, **options: Any) -> KafkaSource:
        """A source with metadata refreshed often, so that a new partition is seen soon."""
        client = {"metadata_max_age_ms": 500}
        return KafkaSource(self._broker.settings(topic=self._topic, client=client, **options))

    def write(self, values: Sequence[bytes], partition: int) -> None:
        """Append records."""
        self._broker.write(self._topic, values, partition)

    def grow(self) -> int:
        """Add a partition."""
        self._partitions += 1
        self._broker.grow(self._topic, self._partitions)
        return self._partitions - 1

    def expire(self, partition: int, before: int) -> None:
        """Delete records."""
        self._broker.expire(self._topic, partition, before)

    def empty(self) -> None:
        """Re-create the topic."""
        self._broker.recreate(self._topic, self._partitions)


class TestTansu(SourceContract):
    """The embedded broker; it can neither add partitions nor delete records."""

    @pytest.fixture
    def world(self, tansu: Broker) -> Topic:
        """A fresh topic."""
        return Topic(tansu, frozenset({"empty"}))


@pytest.mark.kafka
class TestApacheKafka(SourceContract):
    """Apache Kafka, which can do it all."""

    @pytest.fixture
    def world(self, kafka_broker: Broker) -> Topic:
        """A fresh topic."""
        return Topic(kafka_broker, frozenset({"grow", "expire", "empty"}))
