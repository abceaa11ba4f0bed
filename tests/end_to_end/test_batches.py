"""`events.batch`: several events are one iteration, and a killed daemon re-forms the same ones."""

import random
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, succeed

EVENTS = 1000
TASKS = 30


def produce(broker: Broker, partitions: int, events: int) -> str:
    """A new topic with so many events."""
    topic = broker.create(fresh("batches"), partitions)
    stream = ["--tasks", TASKS, "--shots", 5, "--query", 5, "--seed", 4, "--events", events]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", broker.bootstrap_servers, "--topic", topic)
    return topic


def daemon(broker: Broker, topic: str, state: Path, settings: Mapping[str, object]) -> Daemon:
    """A daemon on that topic."""
    common = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 8, 1]}",
        "outer.clip_norm": 10.0,
        "state.checkpoint_events": 150,
        "log.format": "json",
    }
    return Daemon(state, {**common, **settings})


def test_three_kills(tansu: Broker, tmp_path: Path) -> None:
    """A full topic, so that the clock cuts nothing: SIGKILL at 3 random moments ends in the same bits."""
    topic = produce(tansu, 1, EVENTS)
    settings = {"events.batch": 4, "events.batch_linger_seconds": 60.0}
    with (
        daemon(tansu, topic, tmp_path / "calm", settings) as calm,
        daemon(tansu, topic, tmp_path / "killed", settings) as killed,
    ):
        calm.run_to_end()
        assert sum(calm.counts().values()) == EVENTS
        killed.run_with(signal.SIGKILL, 3, EVENTS, random.Random(5))
        assert same_bits(killed.export(), calm.export())


def test_a_lingering_iteration_is_learned(tansu: Broker, tmp_path: Path) -> None:
    """Fewer events than fill the last iteration: the clock closes it while the topic is silent."""
    topic = produce(tansu, 2, 7)
    settings = {"events.batch": 50, "events.batch_linger_seconds": 0.3}
    with daemon(tansu, topic, tmp_path / "state", settings) as running:
        running.start()
        running.wait_for_events(7)
        running.send(signal.SIGTERM)
        assert running.wait() == 0
        assert sum(running.counts().values()) == 7
