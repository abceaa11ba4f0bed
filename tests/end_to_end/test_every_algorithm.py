"""Each algorithm by its name in the configuration: from Kafka, through a kill, to state that is listed."""

from pathlib import Path
from typing import Any

import pytest

from streammeta.config.algorithms import NAMES
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.lives import counts, export, live_to_end, live_until_killed, verb
from tests.end_to_end.program import same_bits

EVENTS, TASKS = 200, 12

SETTINGS: dict[str, tuple[int, dict[str, Any]]] = {
    "moml_v2": (3, {"beta": 0.2}),
    "nasa": (3, {}),
    "bspiderboost": (3, {"period": 4}),
    "local_moml": (3, {"initial_examples": 2, "local_steps": 2, "keep_memory": True}),
    "per_fedavg": (3, {"local_steps": 2}),
    "multi_step_maml": (1, {"inner_steps": 2, "data": "resampling", "meta_step": "adaptive"}),
    "memory_reduced": (1, {"inner_steps": 3, "cg_steps": 4, "warm_start": True}),
}
"""Name -> events an iteration, and settings that keep something across events where the algorithm can."""

KEEPS_TASKS = {"moml", "moml_v2", "nasa", "local_moml", "independent", "memory_reduced"}


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """One partition, so that undisturbed runs take the events in one order."""
    topic = tansu.create(fresh("algorithms"), 1)
    stream = ["--tasks", TASKS, "--shots", 8, "--query", 8, "--seed", 9, "--events", EVENTS]
    verb("produce", "sinusoid", *stream, "--bootstrap-servers", tansu.bootstrap_servers, "--topic", topic)
    return topic


def settings(name: str, broker: Broker, topic: str, state: Path) -> dict[str, Any]:
    """The configuration of a daemon that learns with this algorithm."""
    batch, algorithm = SETTINGS.get(name, (1, {}))
    return {
        "kafka": {"bootstrap_servers": broker.bootstrap_servers, "topic": topic},
        "model": {"args": {"sizes": [1, 8, 1]}},
        "algorithm": {"name": name, **algorithm},
        "outer": {"name": "sgd", "lr": 0.001, "momentum": 0.9, "clip_norm": 1.0},
        "events": {"batch": batch, "batch_linger_seconds": 60.0},
        "state": {"dir": str(state), "checkpoint_events": 70, "cache_tasks": 5},
        "log": {"level": "warning"},
    }


@pytest.mark.parametrize("name", NAMES)
def test_learns_survives_a_kill_and_is_exported(name: str, tansu: Broker, topic: str, tmp_path: Path) -> None:
    """A killed run ends in the bits of an undisturbed one; what it learned can be listed and exported."""
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    live_to_end(settings(name, tansu, topic, calm))
    live_until_killed(settings(name, tansu, topic, killed), EVENTS // 2)
    live_to_end(settings(name, tansu, topic, killed))
    flags = ["--all-tasks"] if name in KEEPS_TASKS else []
    exported = export(killed, *flags)
    assert sum(counts(killed).values()) == EVENTS
    assert same_bits(exported, export(calm, *flags))
    memories = {key.rpartition("/")[0] for key in exported if key.startswith("task/")}
    assert len(memories) == (TASKS if name in KEEPS_TASKS else 0)
