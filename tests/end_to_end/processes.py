"""The program in processes of its own, forked from a server that has imported torch and traced once.

What runs is what `streammeta` runs, from its first line on; each start saves the seconds of those imports.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from streammeta.__main__ import program

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["__main__", "tests.end_to_end.warm"])


def nothing() -> None:
    """A machine as it is."""


class Program:
    """`streammeta` with these arguments; its standard output and error are appended to files."""

    def __init__(
        self, arguments: Sequence[str], output: Path, log: Path, prepare: Callable[[], None] = nothing
    ) -> None:
        """`prepare`: done in the process, before the program's first line."""
        for path in (output, log):
            path.touch()
        self._process = _SERVER.Process(target=_run, args=(list(arguments), output, log, prepare))
        self._process.start()

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._process.exitcode

    @property
    def pid(self) -> int | None:
        """Its number."""
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def wait(self, timeout_seconds: float) -> int:
        """Its exit code, negative where a signal ended it."""
        self._process.join(timeout_seconds)
        code = self.poll()
        assert code is not None, f"still running after {timeout_seconds} s"
        return code


def _run(arguments: list[str], output: Path, log: Path, prepare: Callable[[], None]) -> None:
    for path, descriptor in ((output, 1), (log, 2)):
        file = os.open(path, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, descriptor)
        os.close(file)
    for name in [name for name in os.environ if name.startswith("STREAMMETA_")]:
        del os.environ[name]
    os.environ["STREAMMETA_ENGINE__COMPILE"] = "off"  # as in tests/conftest.py; a flag says otherwise
    os.environ["NO_COLOR"] = "1"
    sys.argv = ["streammeta", *arguments]
    prepare()
    program()
