"""The command line as a user runs it: processes, signals, files."""

import json
import random
import signal
import socket
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from safetensors.numpy import load_file

from streammeta.events import Array
from tests.end_to_end.processes import Program, nothing


class Done(NamedTuple):
    """A verb that has ended."""

    returncode: int
    stdout: str
    stderr: str


def streammeta(*arguments: object, within_seconds: float = 300) -> Done:
    """Run a verb to its end."""
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder, "output"), Path(folder, "log")
        code = Program([str(argument) for argument in arguments], output, log).wait(within_seconds)
        return Done(code, output.read_text(), log.read_text())


def succeed(*arguments: object, within_seconds: float = 300) -> str:
    """Run a verb that must succeed; its standard output."""
    done = streammeta(*arguments, within_seconds=within_seconds)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(*arguments: object) -> Iterator[Program]:
    """A verb in the background; killed at the end of the block, if it still runs."""
    with tempfile.TemporaryDirectory() as folder:
        program = Program(
            [str(argument) for argument in arguments], Path(folder, "output"), Path(folder, "log")
        )
        try:
            yield program
        finally:
            program.send_signal(signal.SIGKILL)
            program.wait(120)


def wait_until(
    condition: Callable[[], bool], what: object, timeout_seconds: float = 240, *, every_seconds: float = 0.02
) -> None:
    """Return as soon as the condition holds; fail, with `what` as it is then, when it does not in time.

    `every_seconds`: between two looks. One that costs much, here or in who is asked, is worth a longer one:
    what is waited for needs the same processors.
    """
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds} s: {what}"
        time.sleep(every_seconds)


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Daemon:
    """`streammeta run` with these settings and flags, one life after another over the same state.

    `prepare` is done in its process before its first line. As a context manager it kills what is still alive
    at the end.
    """

    state: Path
    settings: Mapping[str, object]
    port: int = field(default_factory=free_port)
    process: Program | None = None
    flags: tuple[str, ...] = ()
    prepare: Callable[[], None] = nothing

    def arguments(self) -> list[str]:
        """The settings as flags."""
        settings = {**self.settings, "state.dir": self.state, "http.port": self.port}
        return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]

    def start(self, *flags: str) -> None:
        """Begin a life; its standard error goes to a file beside the state."""
        arguments = ["run", *self.arguments(), *self.flags, *flags]
        self.process = Program(arguments, self.state.with_suffix(".out"), self.log, self.prepare)

    @property
    def log(self) -> Path:
        """What the daemon said."""
        return self.state.with_suffix(".log")

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; 0 when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with suppress(OSError):  # a body that does not come in time
                return error.code, error.read().decode()
        except OSError:
            pass
        return 0, ""

    def events(self) -> int:
        """Events learned in the life of the state; 0 when nobody answers."""
        status, body = self.get("/api/v1/status")
        return int(json.loads(body)["events"]) if status == 200 else 0

    def wait_for_events(self, events: int) -> None:
        """Return when so many were learned, or the process has ended."""
        wait_until(
            lambda: self.ended() or self.events() >= events,
            f"{events} events; {self.log.read_text()[-2000:]}",
        )

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self.process is None or self.process.poll() is not None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout_seconds: float = 300) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(timeout_seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended():
            self.send(signal.SIGKILL)
            self.wait()

    def run_to_end(self) -> None:
        """One life, up to the end of the topic."""
        self.start("--until-end")
        assert self.wait() == 0, self.log.read_text()[-3000:]

    def run_with(self, number: signal.Signals, times: int, events: int, draws: random.Random) -> None:
        """Send the signal at `times` random moments spread over the stream, then run to the end.

        A fifth of the stream is left for the end: no life shall be over before its signal comes.
        """
        span = events * 4 // 5 // times
        for life in range(times):
            target = draws.randint(life * span + 1, (life + 1) * span)
            self.start("--until-end")
            self.wait_for_events(target)
            assert not self.ended(), self.log.read_text()[-3000:]
            self.send(number)
            assert self.wait() == (0 if number == signal.SIGTERM else -number)
        self.run_to_end()

    def export(self, *, tasks: bool = True) -> dict[str, Array]:
        """Meta-parameters and, where the algorithm has them, all memories."""
        output = self.state.with_suffix(".safetensors")
        succeed("export", "--state", self.state, "--output", output, *(["--all-tasks"] if tasks else []))
        return load_file(output)

    def counts(self) -> dict[str, int]:
        """Events per task."""
        rows: list[dict[str, Any]] = json.loads(
            succeed("tasks", "list", "--state", self.state, "--limit", 0, "--format", "json")
        )
        return {row["task"]: row["events"] for row in rows}


def same_bits(one: Mapping[str, Array], other: Mapping[str, Array]) -> bool:
    """Whether two exports hold the same names and the same bytes."""
    return one.keys() == other.keys() and all(one[k].tobytes() == other[k].tobytes() for k in one)
