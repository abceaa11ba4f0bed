"""Signals as requests to the loop.

SIGTERM, SIGINT: finish the event in hand, checkpoint, exit 0; a second one: exit 130 at once (the last
checkpoint stands). SIGHUP: reload log level and learning rates. SIGUSR1: checkpoint now.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from streammeta.loop import Controls

SECOND_INTERRUPT_EXIT_CODE = 130


@contextmanager
def signals_to(controls: Controls) -> Iterator[None]:
    """While inside, signals set flags of `controls`. Main thread only."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        if controls.stop:
            os._exit(SECOND_INTERRUPT_EXIT_CODE)
        controls.stop = True

    def reload(_signal: int, _frame: FrameType | None) -> None:
        controls.reload = True

    def checkpoint(_signal: int, _frame: FrameType | None) -> None:
        controls.checkpoint = True

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]] = {
        signal.SIGTERM: stop,
        signal.SIGINT: stop,
        signal.SIGHUP: reload,
        signal.SIGUSR1: checkpoint,
    }
    before: dict[signal.Signals, Any] = {number: signal.signal(number, h) for number, h in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
