"""Timestamps of records, which anybody may have set: what is no time, how long a replay waits for others.

-1 is Kafka's word for unknown; what lies beyond the year 9999 was not counted in milliseconds.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import numpy as np

from streammeta.events import Array

LATEST_MS: Final = 253_402_300_799_999
"""The end of the year 9999."""
LONGEST_STEP_MS: Final = 7 * 86_400_000
"""The largest step between two records that is waited for; a clock that went wrong jumps further."""


def known(times_ms: Array) -> Array:
    """Which of them are times."""
    mask: Array = (times_ms >= 0) & (times_ms <= LATEST_MS)
    return mask


def time_text(milliseconds: float) -> str | None:
    """RFC 3339; None for what is no time.

    >>> time_text(1500), time_text(-1), time_text(1.7e18)
    ('1970-01-01T00:00:01.500+00:00', None, None)
    """
    if not 0 <= milliseconds <= LATEST_MS:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


class Pace:
    """How far along the stream's own time is, over the rows seen so far.

    A row whose time is unknown comes at once. So does one that is further than `LONGEST_STEP_MS` from the
    latest before it, on either side: time goes on from there. Times that go back less count as the latest.

    Attributes:
        jumps: How often time was not followed.
    """

    def __init__(self) -> None:
        self._passed_ms = self._first_ms = self._latest_ms = -1
        self.jumps = 0

    def after_ms(self, timestamp_ms: int) -> int:
        """Milliseconds of stream time from the first row to this one."""
        if not 0 <= timestamp_ms <= LATEST_MS:
            return self._so_far()
        if self._latest_ms < 0:
            self._passed_ms, self._first_ms, self._latest_ms = 0, timestamp_ms, timestamp_ms
        elif abs(timestamp_ms - self._latest_ms) > LONGEST_STEP_MS:
            self._passed_ms, self._first_ms, self._latest_ms = self._so_far(), timestamp_ms, timestamp_ms
            self.jumps += 1
        else:
            self._latest_ms = max(self._latest_ms, timestamp_ms)
        return self._so_far()

    def follow(self, times_ms: Array) -> int:
        """`after_ms` of the last of these; stretches without a jump are taken at once."""
        times_ms = times_ms[known(times_ms)]
        cuts = np.flatnonzero(np.abs(np.diff(times_ms)) > LONGEST_STEP_MS) + 1
        for stretch in np.split(times_ms, cuts):
            if len(stretch):
                self.after_ms(int(stretch[0]))
                self.after_ms(int(stretch.max()))
        return self._so_far()

    def _so_far(self) -> int:
        return max(self._passed_ms, 0) + self._latest_ms - self._first_ms


class Timing:
    """When a row is due: as long after the first as the stream's time says, over the speed."""

    def __init__(self, speed: float | None, monotonic: Callable[[], float]) -> None:
        """`speed` None: all rows are due at once."""
        self._speed, self._monotonic = speed, monotonic
        self._began: float | None = None
        self.pace = Pace()

    def left_seconds(self, timestamp_ms: int) -> float:
        """How long until the row is due; not positive when it is."""
        if self._speed is None:
            return 0.0
        now = self._monotonic()
        self._began = now if self._began is None else self._began
        return self._began + self.pace.after_ms(timestamp_ms) / 1000 / self._speed - now
