"""Who killed a process: its record, or somebody outside?

Two kills from outside may meet the same record, above all the first of a slow start: an operator, an
impatient supervisor. So what two processes died of is tried by a third while this one watches, before it is
passed. A death that is seen is the record's own. A third that survives has learned the record, and ends; then
this one goes on. Who kills this one kills the third too, and nothing is judged, up to `WATCHES` times.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from streammeta.state.trials import watches_left

log = structlog.get_logger()
_PARENT_DEATH_SIGNAL: Final = 1
"""`PR_SET_PDEATHSIG` of Linux's <sys/prctl.h>."""


def watch(trials_path: Path, command: Sequence[str]) -> int | None:
    """Let a process of this command try what two processes died of, if anything.

    Args:
        trials_path: The file of the marks.
        command: Its words; its process calls `end_with`, and ends with exit code 0 when the trial went well.

    Returns:
        The exit code of this process, where the other was told to stop, or could not begin; None: go on.
    """
    left = watches_left(trials_path)
    if not left:
        return None
    log.warning("two processes died while trying the same record: one more tries it, watched")
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 (this program itself)
    with process, _passing_on(process) as stopped:
        code = process.wait()
    tried = watches_left(trials_path) != left
    if not stopped and (tried or code == 0):
        return None
    return code if code >= 0 else 128 - code


def end_with(parent: int) -> None:
    """Be killed when the process that watches is; at once, if it is gone already."""
    ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def _passing_on(process: subprocess.Popen[bytes]) -> Iterator[list[int]]:
    """Signals that come meanwhile are the other process's; those that end it, as they come."""
    stopped = list[int]()

    def pass_on(number: int, _frame: FrameType | None) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            stopped.append(number)
        process.send_signal(number)

    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.signal(number, pass_on) for number in numbers}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
