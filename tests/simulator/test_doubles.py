"""The simulated broker keeps the contracts of real ones: the real source and dead letters run over it."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from unittest.mock import patch

import pytest

from streammeta.events import Record
from streammeta.stream.base import DeadLetters
from streammeta.stream.kafka.dead_letters import KafkaDeadLetters
from streammeta.stream.kafka.source import KafkaSource
from tests.brokers import broker as real
from tests.contracts.dead_letters import DeadLettersContract
from tests.contracts.source import SourceContract
from tests.simulator.broker import TOPIC, Broker, Topic
from tests.simulator.clock import Clock
from tests.simulator.edges import simulated
from tests.simulator.log import Log


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A topic of four partitions; the tests wait in virtual time."""
    clock = Clock()
    made = Broker(clock, random.Random(0), Topic(f"{1:032d}", [Log() for _ in range(4)]))
    with simulated(made), patch.object(real, "time", clock):
        yield made


class SimulatedTopic:
    """As the contract's `World`."""

    can = frozenset({"grow", "expire", "empty"})

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def source(self, **options: Any) -> KafkaSource:
        """The real one."""
        client = {"metadata_max_age_ms": 500}
        settings = real.Settings("simulated:9092", client=client, **options)
        return KafkaSource(settings, clock=self._broker.clock.monotonic)

    def write(self, values: Sequence[bytes], partition: int) -> None:
        """Append records as the real brokers' tests do."""
        log = self._broker.topic.logs[partition]
        key, headers = f"task-{partition}".encode(), (("ce_id", b"\x00\xff"),)
        for value in values:
            record = Record(TOPIC, partition, 0, 5_000 + log.end, key, value, headers)
            log.append(record, partition, self._broker.clock.now)

    def grow(self) -> int:
        """Add a partition."""
        self._broker.grow()
        return len(self._broker.topic.logs) - 1

    def expire(self, partition: int, before: int) -> None:
        """Retention."""
        self._broker.topic.logs[partition].expire(before)

    def empty(self) -> None:
        """Make the topic again."""
        self._broker.remake()


class TestSimulated(SourceContract):
    """What real brokers are tested with."""

    @pytest.fixture
    def world(self, broker: Broker) -> SimulatedTopic:
        """A fresh topic."""
        return SimulatedTopic(broker)


def test_a_topic_made_anew_with_more_partitions(broker: Broker) -> None:
    """The lag of the new ones is told too, as of any that is read."""
    topic = SimulatedTopic(broker)
    source = topic.source(on_lost_offsets="earliest")
    source.start({})
    topic.empty()
    partition = topic.grow()
    topic.write([b"new"], partition)
    real.eventually(lambda: source.poll(0.1))
    behind = {0: 0, 1: 0, 2: 0, 3: 0, partition: 1}
    assert real.eventually(lambda: source.lag(dict.fromkeys(behind, 0))) == behind
    source.close()


class TestSimulatedLetters(DeadLettersContract):
    """Likewise."""

    @pytest.fixture
    def letters(self, broker: Broker) -> DeadLetters:
        """The real ones."""
        assert broker.serving
        return KafkaDeadLetters(real.Settings("simulated:9092"))

    @pytest.fixture
    def kept(self, broker: Broker) -> Callable[[], list[Record]]:
        """What was written, as it was sent."""

        def written() -> list[Record]:
            facts = [dict(letter.headers) for letter in broker.letters]
            places = [int(fact["__streammeta.errors.offset"] or b"-1") for fact in facts]
            return [
                Record(TOPIC, place % 2, place, place, letter.key, letter.value)
                for letter, place in zip(broker.letters, places, strict=True)
            ]

        return written
