"""Algorithms of each kind by their names: from Kafka, through a kill, to state that is listed and exported.

`tests/runtime/test_every_algorithm.py` kills all of them, in one process.
"""

import signal
from pathlib import Path

import pytest

from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, succeed
from tests.runtime.test_every_algorithm import KEEPS_TASKS, SETTINGS

EVENTS, TASKS = 200, 12

NAMES = ["moml_v2", "bspiderboost", "memory_reduced", "anil"]
"""With memories or without, several events an iteration or one, state of their own or none."""


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """One partition, so that undisturbed runs take the events in one order."""
    topic = tansu.create(fresh("algorithms"))
    stream = ["--tasks", TASKS, "--shots", 8, "--query", 8, "--seed", 9, "--events", EVENTS]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", tansu.bootstrap_servers, "--topic", topic)
    return topic


def daemon(name: str, broker: Broker, topic: str, state: Path) -> Daemon:
    """A daemon that learns with this algorithm."""
    common = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 8, 1]}",
        "algorithm.name": name,
        "outer.clip_norm": 1.0,
        "events.batch_linger_seconds": 60.0,
        "state.checkpoint_events": 70,
        "state.cache_tasks": 5,
    }
    return Daemon(state, {**common, **SETTINGS.get(name, {})})


@pytest.mark.parametrize("name", NAMES)
def test_learns_survives_a_kill_and_is_exported(name: str, tansu: Broker, topic: str, tmp_path: Path) -> None:
    """A killed run ends in the bits of an undisturbed one; what it learned can be listed and exported."""
    keeps_tasks = name in KEEPS_TASKS
    with (
        daemon(name, tansu, topic, tmp_path / "calm") as calm,
        daemon(name, tansu, topic, tmp_path / "killed") as killed,
    ):
        calm.run_to_end()
        killed.start()
        killed.wait_for_events(EVENTS // 2)
        killed.send(signal.SIGKILL)
        assert killed.wait() == -signal.SIGKILL
        killed.run_to_end()
        exported = killed.export(tasks=keeps_tasks)
        assert sum(killed.counts().values()) == EVENTS
        assert same_bits(exported, calm.export(tasks=keeps_tasks))
    memories = {key.rpartition("/")[0] for key in exported if key.startswith("task/")}
    assert len(memories) == (TASKS if keeps_tasks else 0)
