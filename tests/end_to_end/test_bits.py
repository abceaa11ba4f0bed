"""Killed, stopped or left alone, through one broker or another: the same bits."""

import random
import signal
from pathlib import Path

import pytest

from streammeta.events import Array
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, succeed

EVENTS = 2000
TASKS = 30
SETTINGS = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "state.checkpoint_events": 60,
    "state.cache_tasks": 20,
    "log.format": "json",
}


def produce(broker: Broker, partitions: int) -> str:
    """The stream of this module in a new topic of the broker."""
    topic = broker.create(fresh("bits"), partitions)
    stream = ["--tasks", TASKS, "--shots", 5, "--query", 5, "--seed", 3, "--events", EVENTS]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", broker.bootstrap_servers, "--topic", topic)
    return topic


def daemon(broker: Broker, topic: str, state: Path) -> Daemon:
    """A daemon on that topic."""
    where = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}
    return Daemon(state, {**SETTINGS, **where})


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """The stream in one partition."""
    return produce(tansu, 1)


@pytest.fixture(scope="module")
def undisturbed(tansu: Broker, topic: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Array]:
    """The state after one undisturbed run."""
    with daemon(tansu, topic, tmp_path_factory.mktemp("undisturbed") / "state") as run:
        run.run_to_end()
        assert sum(run.counts().values()) == EVENTS
        return run.export()


def test_five_clean_stops(tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path) -> None:
    """SIGTERM and restart five times: exit 0 each time, and the same bits at the end."""
    with daemon(tansu, topic, tmp_path / "state") as run:
        run.run_with(signal.SIGTERM, 5, EVENTS, random.Random(1))
        assert same_bits(run.export(), undisturbed)


def test_twenty_kills(tansu: Broker, topic: str, undisturbed: dict[str, Array], tmp_path: Path) -> None:
    """SIGKILL at 20 random moments: the same bits of meta-parameters and of every memory."""
    with daemon(tansu, topic, tmp_path / "state") as run:
        run.run_with(signal.SIGKILL, 20, EVENTS, random.Random(2))
        assert sum(run.counts().values()) == EVENTS
        assert same_bits(run.export(), undisturbed)


def test_four_partitions_are_counted_exactly(tansu: Broker, tmp_path: Path) -> None:
    """SIGKILL at 20 random moments over four partitions: each task's event count is exact."""
    topic = produce(tansu, 4)
    with daemon(tansu, topic, tmp_path / "calm") as calm, daemon(tansu, topic, tmp_path / "killed") as killed:
        calm.run_to_end()
        killed.run_with(signal.SIGKILL, 20, EVENTS, random.Random(3))
        assert killed.counts() == calm.counts()
        assert sum(killed.counts().values()) == EVENTS
        assert len(killed.counts()) == TASKS


@pytest.mark.kafka
def test_apache_kafka_and_tansu_agree(
    kafka_broker: Broker, undisturbed: dict[str, Array], tmp_path: Path
) -> None:
    """The same events through Apache Kafka end in the same bits."""
    with daemon(kafka_broker, produce(kafka_broker, 1), tmp_path / "state") as run:
        run.run_to_end()
        assert same_bits(run.export(), undisturbed)
