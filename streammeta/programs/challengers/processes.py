"""The process of a challenger as the operating system sees it: begun, ended, and what its exit code tells."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import streammeta


def begin(signs: int, reports: int, errors: int | None) -> "subprocess.Popen[bytes]":
    """Begin one that hears and tells through these descriptors; its errors go there, None for ours."""
    package = str(Path(streammeta.__file__).parent.parent)
    path = os.pathsep.join(filter(None, (package, os.environ.get("PYTHONPATH", ""))))
    # A session of its own: an interrupt at the terminal is for the champion, which tells its challengers.
    return subprocess.Popen(  # noqa: S603 (our own module in this Python)
        [sys.executable, "-P", "-m", "streammeta.programs.challengers.process", str(signs), str(reports)],
        stdin=subprocess.DEVNULL,
        stdout=2 if errors is None else errors,
        stderr=errors,
        env={**os.environ, "PYTHONPATH": path},
        pass_fds=(signs, reports),
        start_new_session=True,
    )


def kill(process: "subprocess.Popen[bytes]") -> None:
    """End it with all that it has begun."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def ended(code: int) -> str:
    """What the exit code tells, in words."""
    if code == -9:
        return "its process was killed (signal 9), perhaps for want of memory"
    return f"its process ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}"
