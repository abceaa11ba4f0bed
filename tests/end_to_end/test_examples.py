"""Single examples through a broker: produced from a table, cut into episodes, killed on the way."""

import json
import math
import random
import signal
from pathlib import Path

import pytest

from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, streammeta, succeed

SERIES, HOURS = 12, 60
WINDOW, SUPPORT = 6, 4
EVENTS = SERIES * (HOURS - WINDOW - SUPPORT)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Daily waves of different heights, a row an observation, task by task."""
    path = tmp_path_factory.mktemp("table") / "waves.csv"
    rows = [
        f"wave-{s},{hour},{(s + 1) * math.sin(hour / 24 * 2 * math.pi + s) + 10 * s:.6f}"
        for s in range(SERIES)
        for hour in range(HOURS)
    ]
    path.write_text("\n".join(["series,hour,value", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def topic(tansu: Broker, table: Path) -> str:
    """The table as single examples in one partition."""
    name = tansu.create(fresh("examples"), 1)
    columns = ["--task", "series", "--time", "hour", "--target", "value", "--window", WINDOW]
    where = ["--bootstrap-servers", tansu.bootstrap_servers, "--topic", name, "--summary", "json"]
    told = json.loads(succeed("produce", "table", table, *columns, *where))
    assert told["events"] == SERIES * (HOURS - WINDOW)
    return name


def daemon(broker: Broker, topic: str, state: Path, **settings: object) -> Daemon:
    """A daemon that cuts episodes from that topic."""
    chosen = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": f"{{sizes = [{WINDOW}, 8, 1]}}",
        "events.kind": "examples",
        "events.support": SUPPORT,
        "events.query": 1,
        "state.checkpoint_events": 60,
        "state.cache_tasks": 9,
        "log.format": "json",
    }
    return Daemon(state, {**chosen, **settings})


RESAMPLING = {
    "algorithm.name": "multi_step_maml",
    "algorithm.data": "resampling",  # 2 N pieces of the buffer's oldest examples
    "algorithm.inner_steps": SUPPORT // 2,
    "algorithm.inner_lr": 0.01,
    "outer.clip_norm": 1.0,
}


@pytest.mark.parametrize("settings", [{}, RESAMPLING], ids=["moml", "resampling"])
def test_kills_change_no_episode(
    settings: dict[str, object], tansu: Broker, topic: str, tmp_path: Path
) -> None:
    """Every example but the first of a task is a query once; killed or not, to the same bits."""
    with (
        daemon(tansu, topic, tmp_path / "calm", **settings) as calm,
        daemon(tansu, topic, tmp_path / "killed", **settings) as killed,
    ):
        calm.run_to_end()
        assert set(calm.counts().values()) == {HOURS - WINDOW - SUPPORT}
        killed.run_with(signal.SIGKILL, 4, EVENTS, random.Random(6))
        assert killed.counts() == calm.counts()
        keeps_tasks = settings is not RESAMPLING
        assert same_bits(killed.export(tasks=keeps_tasks), calm.export(tasks=keeps_tasks))


def test_tasks_that_wait_are_shown(tansu: Broker, topic: str, tmp_path: Path) -> None:
    """With more support than there are examples nothing is learned: all wait, and are told as skipped."""
    with daemon(tansu, topic, tmp_path / "waits", **{"events.support": HOURS}) as waits:
        waits.run_to_end()
        assert set(waits.counts().values()) == {0}
        row = json.loads(succeed("tasks", "show", "wave-3", "--state", waits.state, "--format", "json"))
        assert row["examples_waiting"] == HOURS - WINDOW
        assert row["last_seen"] is None
        refused = streammeta("export", "--state", waits.state, "--task", "wave-3", "--output", tmp_path / "x")
        assert refused.returncode == 1
        assert "was never learned from" in refused.stderr
