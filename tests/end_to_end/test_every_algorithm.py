"""Each algorithm by its name in the configuration: from Kafka, through a kill, to state that is listed."""

import signal
from pathlib import Path

import pytest

from streammeta.config.algorithms import NAMES
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, succeed

EVENTS, TASKS = 200, 12

SETTINGS: dict[str, dict[str, object]] = {
    "moml_v2": {"events.batch": 3, "algorithm.beta": 0.2},
    "nasa": {"events.batch": 3},
    "bspiderboost": {"events.batch": 3, "algorithm.period": 4},
    "local_moml": {
        "events.batch": 3,
        "algorithm.initial_examples": 2,
        "algorithm.local_steps": 2,
        "algorithm.keep_memory": "true",
    },
    "per_fedavg": {"events.batch": 3, "algorithm.local_steps": 2},
    "multi_step_maml": {
        "algorithm.inner_steps": 2,
        "algorithm.data": "resampling",
        "algorithm.meta_step": "adaptive",
    },
    "memory_reduced": {
        "algorithm.inner_steps": 3,
        "algorithm.cg_steps": 4,
        "algorithm.warm_start": "true",
    },
}
"""Settings with which an algorithm keeps something across events, where it can."""

KEEPS_TASKS = {"moml", "moml_v2", "nasa", "local_moml", "independent", "memory_reduced"}


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
