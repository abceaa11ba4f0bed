"""Ranks as processes: started, killed and started again all together, as `torchrun` does it."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from streammeta.errors import StateError
from streammeta.events import Array
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.lmdb_store import LmdbStore
from tests.end_to_end.processes import Program
from tests.end_to_end.program import Daemon, free_port, wait_until


def anywhere(_rank: int) -> None:
    """On this machine, as all."""


def _placed(rank: int, world: int, port: int, enter: Callable[[int], None]) -> None:
    """What a launcher puts into a rank's environment."""
    names = {"RANK": rank, "WORLD_SIZE": world, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": world}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)})
    enter(rank)


@dataclass
class Launcher:
    """Ranks over one state directory, one life of all after another; `enter` is done in each first."""

    state: Path
    settings: Mapping[str, object]
    world: int = 2
    ranks: list[Program] = field(default_factory=list)
    enter: Callable[[int], None] = anywhere

    def arguments(self, *flags: str) -> list[str]:
        """The settings as flags."""
        settings = {"http.port": 0, **self.settings, "state.dir": self.state}
        return ["run", *flags, *(p for key, value in settings.items() for p in ("--set", f"{key}={value}"))]

    def start(self, *flags: str) -> None:
        """Begin a life of all."""
        port = free_port()
        self.ranks = [
            Program(
                self.arguments(*flags),
                self.log(rank),
                self.log(rank),
                partial(_placed, rank, self.world, port, self.enter),
            )
            for rank in range(self.world)
        ]

    def log(self, rank: int) -> Path:
        """What a rank said."""
        return self.state.with_name(f"{self.state.name}-{rank}.log")

    def said(self) -> str:
        """The ends of all logs."""
        return "\n".join(self.log(rank).read_text()[-1500:] for rank in range(self.world))

    def send(self, number: signal.Signals) -> None:
        """Send a signal to all."""
        for rank in self.ranks:
            rank.send_signal(number)

    def codes(self, timeout_seconds: float = 300) -> list[int]:
        """The exit codes of all."""
        return [rank.wait(timeout_seconds) for rank in self.ranks]

    def run_to_end(self) -> None:
        """A life up to the end of the topic."""
        self.start("--until-end")
        assert self.codes() == [0] * self.world, self.said()

    def run_killed(self, kills: int, rounds: int, draws: random.Random) -> None:
        """Kill a random rank so often, at moments spread over the rounds, and the others; then run on.

        Some of the others are killed at once, some have time to notice.
        """
        for life in range(kills):
            self.start("--until-end")
            target = draws.randint(life * rounds // (kills + 1), (life + 1) * rounds // (kills + 1))
            victim = draws.randrange(self.world)
            wait_until(lambda: self.closed(victim) >= target or self.over(), f"round {target}")  # noqa: B023 (now)
            time.sleep(draws.uniform(0.0, 0.05))  # the moment is random: nothing is waited for
            self.ranks[victim].send_signal(signal.SIGKILL)
            if draws.random() < 0.5:
                time.sleep(draws.uniform(0.0, 0.3))
            self.send(signal.SIGKILL)
            assert self.codes()[victim] == -signal.SIGKILL, self.said()
        self.run_to_end()

    def directory(self, rank: int) -> Path:
        """Where a rank keeps its state."""
        return self.state / f"rank-{rank}"

    def checkpoint(self, rank: int) -> Checkpoint | None:
        """What a rank has committed."""
        try:
            store = LmdbStore(self.directory(rank) / "lmdb", readonly=True)
        except StateError:
            return None
        with closing(store):
            meta = store.load()
            return None if meta is None else unpack(meta)

    def closed(self, rank: int) -> int:
        """The rounds that a rank has closed."""
        found = self.checkpoint(rank)
        return -1 if found is None or found.standing is None else found.standing.closed

    def exports(self) -> list[dict[str, Array]]:
        """Meta-parameters and memories of each rank."""
        return [Daemon(self.directory(rank), {}).export() for rank in range(self.world)]

    def counts(self) -> list[dict[str, int]]:
        """Events per task, of each rank."""
        return [Daemon(self.directory(rank), {}).counts() for rank in range(self.world)]

    def over(self) -> bool:
        """Whether a rank has ended."""
        return any(rank.poll() is not None for rank in self.ranks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill what is left."""
        self.send(signal.SIGKILL)
        self.codes()
