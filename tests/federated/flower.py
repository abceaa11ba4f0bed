"""Flower's own commands as processes, each found again by its `FLWR_HOME` wherever it detached to."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import streammeta

COMMANDS = Path(sys.executable).parent
ROOT = Path(streammeta.__file__).parents[1]


@dataclass
class Machine:
    """Commands are run in `app`; Flower's files and the logs are in `home`."""

    app: Path
    home: Path
    started: list["subprocess.Popen[Any]"] = field(default_factory=list)

    def start(self, *words: object) -> "subprocess.Popen[Any]":
        """A command; what it says goes into a file of its name."""
        command = [str(COMMANDS / str(words[0])), *map(str, words[1:])]
        with self._log(command).open("wb") as log:
            process = subprocess.Popen(command, cwd=self.app, env=self._environment(), stdout=log, stderr=log)
        self.started.append(process)
        return process

    def said(self) -> str:
        """The ends of all logs."""
        return "\n".join(f"{log.name}: {log.read_text()[-3000:]}" for log in self.home.glob("*.log"))

    def end(self) -> None:
        """Kill what is left, the detached too."""
        mark = f"FLWR_HOME={self.home}\0".encode()
        while left := [number for number in _processes() if mark in _environment_of(number)]:
            for number in left:
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)
        for process in self.started:
            process.wait(60)

    def _log(self, command: list[str]) -> Path:
        return self.home / f"{Path(command[0]).name}.log"

    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("STREAMMETA_")}
        return own | {
            "FLWR_HOME": str(self.home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "PATH": f"{COMMANDS}{os.pathsep}{own.get('PATH', '')}",
            "PYTHONPATH": str(ROOT),
        }


@contextmanager
def machine(app: Path, home: Path) -> Iterator[Machine]:
    """One on which nothing runs any more after the block."""
    home.mkdir()
    made = Machine(app, home)
    try:
        yield made
    finally:
        made.end()


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _environment_of(number: int) -> bytes:
    """Nothing of those that are gone, dead, or somebody else's."""
    with suppress(OSError):
        return Path(f"/proc/{number}/environ").read_bytes()
    return b""
