"""Time as an argument: the shell hands a `Clock` to whoever needs one, tests hand their own."""

import time
from collections.abc import Callable
from typing import NamedTuple


class Clock(NamedTuple):
    """Two readings of time, in seconds.

    Attributes:
        monotonic: Never goes back; for durations.
        now: Since 1970; for what people and Prometheus read.
    """

    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
