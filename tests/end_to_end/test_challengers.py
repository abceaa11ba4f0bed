"""A champion and its challengers as processes, over the embedded broker: each as exact as if alone."""

import json
import os
import random
import signal
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from streammeta.config.toml import toml_value
from streammeta.events import Array
from tests.brokers.broker import Broker, fresh
from tests.end_to_end.program import Daemon, same_bits, streammeta, succeed, wait_until

EVENTS, MORE, TASKS = 480, 100, 20
SECONDS = 300.0
"""How long a challenger, which comes second in everything, may take on a busy machine."""
CHAMPION = {
    "model.args": "{sizes = [1, 8, 1]}",
    "state.checkpoint_events": 40,
    "log.format": "json",
}
CHALLENGER: dict[str, dict[str, object]] = {
    "model": {"args": {"sizes": [1, 6, 1]}},
    "algorithm": {"name": "moml", "inner_lr": 0.02, "order": "first"},
    "state": {"checkpoint_events": 30},
    "engine": {"compile": "off"},
    "http": {"port": 0},
}


def produce(broker: Broker, topic: str, events: int, seed: int) -> None:
    """So many further events."""
    stream = ["--tasks", TASKS, "--shots", 5, "--query", 5, "--seed", seed, "--events", events]
    succeed("produce", "sinusoid", *stream, "--bootstrap-servers", broker.bootstrap_servers, "--topic", topic)


def settings(broker: Broker, topic: str) -> dict[str, object]:
    """The champion's."""
    return {**CHAMPION, "kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": topic}


def challenger(path: Path, broker: Broker, topic: str, **model: object) -> Path:
    """A configuration of its own, with its state beside it."""
    tables: dict[str, dict[str, object]] = {
        **CHALLENGER,
        "kafka": {"topic": topic, "bootstrap_servers": broker.bootstrap_servers},
        "model": {**CHALLENGER["model"], **model},
        "state": {**CHALLENGER["state"], "dir": str(path.with_suffix(""))},
    }
    lines = [
        line
        for name, table in tables.items()
        for line in (f"[{name}]", *(f"{key} = {toml_value(value)}" for key, value in table.items()))
    ]
    path.write_text("\n".join(lines))
    return path


def exported(state: Path) -> dict[str, Array]:
    """All that a state has learned."""
    output = state.with_suffix(".safetensors")
    succeed("export", "--state", state, "--output", output, "--all-tasks")
    return load_file(output)


def alone(path: Path, state: Path) -> dict[str, Array]:
    """What a challenger learns without a champion."""
    succeed("run", "--config", path, "--set", f"state.dir={state}", "--until-end")
    return exported(state)


def shadows(daemon: Daemon) -> Mapping[str, Mapping[str, Any]]:
    """The challengers that the status tells of, by name."""
    status, body = daemon.get("/api/v1/status")
    return {one["name"]: one for one in json.loads(body)["challengers"]} if status == 200 else {}


def has_learned(daemon: Daemon, events: int) -> bool:
    """Whether its challenger has learned so many, in the life of its state."""
    return (shadows(daemon).get("challenger", {}).get("events") or 0) >= events


def reborn(daemon: Daemon) -> bool:
    """Whether its challenger died once, and learns again."""
    told = shadows(daemon).get("challenger", {})
    return (told.get("deaths"), told.get("state")) == (1, "learning")


def kill(pid: int) -> None:
    """End a challenger's process."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
def test_killed_promoted_and_gone_on_with(tansu: Broker, tmp_path: Path) -> None:
    """SIGKILL of the one, the other, and both: both end as if each were alone; then the challenger reigns."""
    topic = tansu.create(fresh("shadow"), 1)
    produce(tansu, topic, EVENTS, seed=3)
    path = challenger(tmp_path / "challenger.toml", tansu, topic)
    draws = random.Random(5)
    with (
        Daemon(tmp_path / "calm", settings(tansu, topic)) as calm,
        Daemon(tmp_path / "champion", settings(tansu, topic), flags=("--shadow", str(path))) as champion,
    ):
        calm.run_to_end()
        for life, whom in enumerate(("challenger", "champion", "both")):
            champion.start()
            wanted = draws.randint(life * EVENTS // 4 + 1, (life + 1) * EVENTS // 4)
            wait_until(partial(has_learned, champion, wanted), champion.log, SECONDS)
            if whom != "champion":
                kill(shadows(champion)["challenger"]["pid"])
            if whom == "challenger":
                wait_until(lambda: reborn(champion), champion.log, SECONDS)
            champion.send(signal.SIGKILL)
            champion.wait()
        champion.start("--until-end")
        assert champion.wait(2 * SECONDS) == 0, champion.log.read_text()[-3000:]
        assert same_bits(exported(champion.state), exported(calm.state))
        assert same_bits(exported(path.with_suffix("")), alone(path, tmp_path / "alone"))

        promoted = succeed("promote", "--state", champion.state, "--shadow", path)
        assert f"--config {path} --set state.dir={champion.state}" in promoted
        produce(tansu, topic, MORE, seed=4)
        assert same_bits(alone(path, champion.state), alone(path, tmp_path / "alone"))
        refused = streammeta("run", *calm.arguments(), "--set", f"state.dir={champion.state}", "--until-end")
        assert refused.returncode == 65
        assert "algorithm.order" in refused.stderr


@pytest.mark.slow
def test_a_reload_of_the_champion_is_one_of_its_challengers(tansu: Broker, tmp_path: Path) -> None:
    """SIGHUP: it takes the rates of its own file as it is now; one that would be refused changes none."""
    topic = tansu.create(fresh("shadow"), 1)
    path = challenger(tmp_path / "challenger.toml", tansu, topic)
    begun = path.read_text()
    flags = ("--shadow", str(path))
    with Daemon(tmp_path / "champion", settings(tansu, topic), flags=flags) as champion:

        def rates() -> tuple[float | None, float | None, float | None]:
            shadow = shadows(champion).get("challenger", {}).get("learning_rates") or {}
            status, body = champion.get("/api/v1/status")
            own = json.loads(body)["learning_rates"] if status == 200 else {}
            return own.get("inner"), shadow.get("inner"), shadow.get("meta")

        champion.start()
        produce(tansu, topic, 10, seed=3)
        wait_until(lambda: rates()[:2] == (0.01, 0.02), champion.log, SECONDS)
        path.write_text(begun.replace("inner_lr = 0.02", "inner_lr = 0.03") + "\n[outer]\nlr = 0.002")
        champion.send(signal.SIGHUP)
        produce(tansu, topic, 10, seed=4)
        wait_until(lambda: rates() == (0.01, 0.03, 0.002), champion.log, SECONDS)
        path.write_text(begun.replace("inner_lr = 0.02", "inner_lr = -1.0"))
        champion.send(signal.SIGHUP)
        wait_until(lambda: "algorithm.inner_lr = -1.0" in champion.log.read_text(), champion.log, SECONDS)
        produce(tansu, topic, 10, seed=5)
        wait_until(partial(has_learned, champion, 30), champion.log, SECONDS)
        assert rates() == (0.01, 0.03, 0.002)


@pytest.mark.slow
def test_challengers_that_fail_harm_nobody(tansu: Broker, tmp_path: Path) -> None:
    """One raises, one hangs, one ends its process, one takes too much memory: the champion goes on."""
    topic = tansu.create(fresh("shadow"), 1)
    produce(tansu, topic, EVENTS, seed=3)
    made = ("raises", "hangs", "exits", "grows")
    paths = [
        challenger(
            tmp_path / f"{name}.toml", tansu, topic, factory=f"tests.end_to_end.failing:{name}", args={}
        )
        for name in made
    ]
    flags = tuple(part for path in paths for part in ("--shadow", str(path)))
    with (
        Daemon(tmp_path / "calm", settings(tansu, topic)) as calm,
        Daemon(tmp_path / "champion", settings(tansu, topic), flags=flags) as champion,
    ):
        calm.run_to_end()
        champion.start()
        wait_until(lambda: champion.events() >= EVENTS, champion.log, SECONDS)
        wait_until(
            lambda: all(shadows(champion).get(name, {}).get("deaths", 0) for name in made if name != "hangs"),
            champion.log,
            SECONDS,
        )
        told = shadows(champion)
        assert (told["raises"]["state"], told["hangs"]["state"]) == ("failed", "starting")
        assert "no such network" in told["raises"]["reason"]
        assert "exit code 3" in told["exits"]["reason"]
        assert "memory" in told["grows"]["reason"].lower()
        assert champion.get("/readyz")[0] == champion.get("/livez")[0] == 200
        status = json.loads(champion.get("/api/v1/status")[1])
        assert status["lag"]["total"] == 0
        troubles = [(trouble["code"], trouble["text"]) for trouble in status["troubles"]]
        assert any(code == "challenger_failed" and "raises is given up" in text for code, text in troubles)
        assert 'streammeta_learner_state{learner="raises",state="failed"} 1.0' in champion.get("/metrics")[1]
        champion.send(signal.SIGTERM)
        assert champion.wait() == 0
        assert same_bits(exported(champion.state), exported(calm.state))
