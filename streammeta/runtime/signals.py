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

from streammeta.runtime.controls import Controls

SECOND_INTERRUPT_EXIT_CODE = 130


@contextmanager
def signals_to(controls: Controls, received: Callable[[str], None] = lambda _: None) -> Iterator[None]:
    """While inside, signals set flags of `controls`, and `received` gets their names. Main thread only.

    `received` runs between any two instructions of the program: it may append to a deque, not write a log.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        if controls.stop:
            os._exit(SECOND_INTERRUPT_EXIT_CODE)
        controls.stop = True
        received(signal.Signals(number).name)

    def reload(number: int, _frame: FrameType | None) -> None:
        controls.reload = True
        received(signal.Signals(number).name)

    def checkpoint(number: int, _frame: FrameType | None) -> None:
        controls.checkpoint = True
        received(signal.Signals(number).name)

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
