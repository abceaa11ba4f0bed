"""Tasks forgotten and begun anew, as their owner meets it: by verbs, over the broker, in a replay."""

import json
from pathlib import Path
from typing import Any

from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, streammeta, succeed
from tests.end_to_end.test_quarantine import linear

TASKS = ("one", "two", "three", "ü")


def test_deleted_and_reset(tansu: Broker, tmp_path: Path) -> None:
    """Unknown from its tombstone on, and a first visit after; the flight recorder replays both."""
    topic = tansu.create(fresh("changes"), partitions=3)
    settings = {
        "kafka.bootstrap_servers": tansu.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 1]}",
        "engine.compile": "off",
    }
    target = [f"--set={name}={value}" for name, value in settings.items()]

    def write(*tasks: str) -> None:
        for task in tasks:
            placed = tansu.producer.send(topic, linear(2.0), task.encode()).get(timeout=30)
            homes[task] = placed.partition

    def told(task: str) -> dict[str, Any]:
        shown = succeed("tasks", "show", task, "--state", daemon.state, "--format", "json")
        found: dict[str, Any] = json.loads(shown)
        return found

    recording, homes = tmp_path / "recording", dict[str, int]()
    with Daemon(tmp_path / "state", settings, flags=("--record", str(recording))) as daemon:
        write(*TASKS, *TASKS, *TASKS)
        daemon.run_to_end()
        placed = json.loads(succeed("tasks", "delete", "one", "ü", *target, "--format", "json"))
        assert [(row["task"], row["partition"]) for row in placed] == [(t, homes[t]) for t in ("one", "ü")]
        assert "two" in succeed("tasks", "reset", "two", *target)
        daemon.run_to_end()
        assert daemon.counts() == {"two": 3, "three": 3}
        assert (told("two")["events"], told("two")["reset_after"]) == (3, 3)
        assert {name for name in daemon.export() if name.startswith("task/two")} == set()
        write("one", "two")
        daemon.run_to_end()
        assert daemon.counts() == {"one": 1, "two": 4, "three": 3}
        last = daemon.export()
        assert any(name.startswith("task/two") for name in last)

        again = Daemon(tmp_path / "again", settings)
        succeed("replay", recording, *target, f"--set=state.dir={again.state}")
        assert again.counts() == daemon.counts()
        assert same_bits(again.export(), last)

    refused = streammeta("tasks", "delete", "one", "x" * 257, *target)
    assert refused.returncode == 2
    assert "an id has 1 to 256 bytes of UTF-8" in refused.stderr
    nowhere = streammeta("tasks", "delete", "one", *target[:1], "--set=kafka.topic=nowhere")
    assert nowhere.returncode != 0
    assert "topic 'nowhere' does not exist" in nowhere.stderr
    kept = streammeta("tasks", "delete", "one", *target, '--set=events.tombstones="dead_letter"')
    assert kept.returncode == 78
