"""Ranks as processes over a broker: counted exactly, the same bits, told to stop, told that one hangs."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.brokers.broker import Broker, fresh
from tests.chaos.plan import Size
from tests.distributed.launcher import Launcher
from tests.distributed.stream import EVENTS, send
from tests.end_to_end.program import free_port, same_bits, wait_until

KILLS = int(os.environ.get("RANKS_KILLS", "3"))
"""`make ranks` asks for more."""
ROUND_EVENTS = 20
SETTINGS = {
    "model.args": "{sizes = [1, 8, 1]}",
    "outer.clip_norm": 10.0,
    "distributed.round_events": ROUND_EVENTS,
    "distributed.round_seconds": 0.0,
    "log.format": "json",
}


def ranks(broker: Broker, topic: str, state: Path, **settings: object) -> Launcher:
    """Two of them on that topic."""
    where = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}
    return Launcher(state, {**SETTINGS, **where, **settings})


@pytest.fixture(scope="module")
def topic(tansu: Broker) -> str:
    """Eight partitions, of which each rank has one with records: so their order is the same in every run."""
    topic = tansu.create(fresh("ranks"), 8)
    send(tansu, topic, partitions=(2, 5))
    return topic


def test_killed_at_any_moment_the_ranks_end_at_the_same_bits(
    tansu: Broker, topic: str, tmp_path: Path
) -> None:
    """SIGKILL of random ranks: all memories and the meta-model as in the undisturbed run, in step."""
    with ranks(tansu, topic, tmp_path / "calm") as calm, ranks(tansu, topic, tmp_path / "killed") as killed:
        calm.run_to_end()
        killed.run_killed(KILLS, rounds=EVENTS // 2 // ROUND_EVENTS, draws=random.Random(4))
        exported = killed.exports()
        assert all(same_bits(one, other) for one, other in zip(exported, calm.exports(), strict=True))
        meta = [{name: value for name, value in one.items() if name.startswith("meta/")} for one in exported]
        assert same_bits(*meta)
