"""A task that runs away, as its owner meets it: held back, listed, released, learned from again."""

import json
import signal
from pathlib import Path

from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, succeed, wait_until

LIMIT = 10.0


def linear(scale: float) -> bytes:
    """An event of a task whose line is as steep as `scale`."""
    x = [[-1.0], [0.5], [1.0]]
    given = {"x": x, "y": [[scale * value] for (value,) in x]}
    return json.dumps({"support": given, "query": given}).encode()


def test_a_runaway_task_is_listed_and_released(tansu: Broker, tmp_path: Path) -> None:
    """Its events are dead letters, those of others are not; after `tasks release` they are learned."""
    topic = tansu.create(fresh("runaway"))

    def write(task: str, scale: float = 1.0, count: int = 1) -> None:
        for _ in range(count):
            tansu.producer.send(topic, linear(scale), task.encode(), partition=0).get(timeout=30)

    settings = {
        "kafka.bootstrap_servers": tansu.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 1]}",
        "events.memory_norm_limit": LIMIT,
    }
    target = [f"--set=kafka.{name}={settings[f'kafka.{name}']}" for name in ("bootstrap_servers", "topic")]
    with Daemon(tmp_path / "state", settings) as daemon:
        write("calm", count=5)
        write("wild", count=2)
        write("wild", scale=1e6)
        write("wild", count=3)
        write("calm")
        daemon.run_to_end()
        assert daemon.counts() == {"calm": 6, "wild": 2}
        assert _quarantined(daemon) == {"wild"}
        letters = json.loads(succeed("dlq", "list", *target, "--format", "json"))
        assert [letter["reason"] for letter in letters] == ["quarantined"] * 4
        shown = json.loads(succeed("tasks", "show", "wild", "--state", daemon.state, "--format", "json"))
        assert shown["release"] == "streammeta tasks release --config FILE wild"
        daemon.start()
        wait_until(lambda: daemon.get("/api/v1/tasks/wild")[0] == 200, "no such task")
        row = json.loads(daemon.get("/api/v1/tasks/wild")[1])
        assert (row["quarantined_event"], row["release"]) == (8, shown["release"])
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0

        succeed("tasks", "release", "wild", *target)
        write("wild", count=2)
        daemon.run_to_end()
        assert daemon.counts() == {"calm": 6, "wild": 4}
        assert _quarantined(daemon) == set()


def _quarantined(daemon: Daemon) -> set[str]:
    rows = json.loads(succeed("tasks", "list", "--state", daemon.state, "--format", "json"))
    return {row["task"] for row in rows if row["quarantined"]}
