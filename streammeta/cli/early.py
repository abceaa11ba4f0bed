"""Signals before the daemon listens: importing torch takes a second, and nothing was learned yet."""

import os
import signal
from types import FrameType


def heed_early_signals() -> None:
    """SIGTERM and SIGINT end the process with 0; SIGHUP and SIGUSR1, which ask for nothing yet, pass.

    Without it a reload sent too early would end the process, which systemd takes for a clean exit.
    `signals_to` takes over.
    """

    def leave(_number: int, _frame: FrameType | None) -> None:
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, leave)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
