"""Lives of the daemon in processes that need not import torch anew: what a test of many can afford."""

import json
import multiprocessing
import os
import signal
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from safetensors.numpy import load_file

from consumers.daemon import run_daemon
from streammeta.cli import main
from streammeta.config import Config
from streammeta.events import Array
from tests.end_to_end.program import free_port, wait_until

_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(["tests.end_to_end.warm"])


def _live(config: Config, until_end: bool) -> None:
    run_daemon(config, read_config=lambda: config, until_end=until_end)


def live_to_end(settings: Mapping[str, Any]) -> None:
    """One life, up to the end of the topic; it must end well."""
    life = _PROCESSES.Process(target=_live, args=(_config(settings, free_port()), True))
    life.start()
    life.join(120)
    assert life.exitcode == 0


def live_until_killed(settings: Mapping[str, Any], events: int) -> None:
    """One life, killed as soon as it has learned so many events."""
    port = free_port()
    life = _PROCESSES.Process(target=_live, args=(_config(settings, port), False))
    life.start()
    wait_until(lambda: life.exitcode is not None or _learned(port) >= events, f"{events} events")
    assert life.pid is not None
    os.kill(life.pid, signal.SIGKILL)
    life.join(30)
    assert life.exitcode == -signal.SIGKILL


def verb(*arguments: object) -> str:
    """A verb of the command line, in this process; it must succeed."""
    done = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def export(state: Path, *flags: str) -> dict[str, Array]:
    """Meta-parameters, and what the flags ask for."""
    output = state.with_suffix(".safetensors")
    verb("export", "--state", state, "--output", output, *flags)
    return load_file(output)


def counts(state: Path) -> dict[str, int]:
    """Events per task."""
    rows = json.loads(verb("tasks", "list", "--state", state, "--limit", 0, "--output", "json"))
    return {row["task"]: row["events"] for row in rows}


def _config(settings: Mapping[str, Any], port: int) -> Config:
    return Config.model_validate({**settings, "http": {"port": port}})


def _learned(port: int) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/status", timeout=2) as answer:
            return int(json.load(answer)["events"])
    except OSError:
        return 0
