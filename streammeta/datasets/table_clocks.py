"""Clocks that name no zone: their moments in a zone, and signs that UTC is not theirs."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from streammeta.events import Array

FIRST, LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUARTER_SECONDS: Final = 900
_LONGEST_STEP_BACK_SECONDS: Final = 7200
_ZONES: Final = (
    *("Europe/Berlin", "Europe/London", "Europe/Athens", "Europe/Moscow", "Atlantic/Azores"),
    *("America/New_York", "America/Havana", "America/Santiago", "America/Sao_Paulo"),
    *("Australia/Sydney", "Australia/Lord_Howe", "Pacific/Auckland"),
    *("Asia/Jerusalem", "Asia/Beirut", "Asia/Tehran", "Africa/Cairo"),
)
"""One for each rule by which many people's clocks go back."""


class Local(NamedTuple):
    """Seconds of clocks since 1970; which have no zone of their own; which are days without an hour."""

    seconds: Array
    naive: Array
    day: Array


def in_zone(local: Local, zone: ZoneInfo) -> tuple[Array, Array]:
    """Seconds since 1970 by the first and by the second reading; those differ where clocks change."""
    early, late = local.seconds.copy(), local.seconds.copy()
    if zone.key == "UTC":
        return early, late
    chosen = local.naive & (local.seconds >= FIRST) & (local.seconds <= LAST)
    quarters, places = np.unique(local.seconds[chosen] // _QUARTER_SECONDS, return_inverse=True)
    for fold, seconds in enumerate((early, late)):
        offsets = [_offset_seconds(quarter * _QUARTER_SECONDS, zone, fold) for quarter in quarters]
        seconds[chosen] -= np.array(offsets)[places]
    late[local.day] = early[local.day]  # a day begins once
    return early, late


class Backsteps:
    """Looks for an hour that comes twice in tasks whose clocks else rise, in the file's order."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._rising: dict[str, bool] = {}

    def look(self, tasks: Sequence[str | None], local: Local) -> tuple[int, str] | None:
        """The place of the first such clock, and a zone where it comes twice.

        A task that ever stepped back otherwise is in no order, and tells nothing.
        """
        looked_at = np.flatnonzero(local.naive & ~local.day & np.isfinite(local.seconds))
        for place in map(int, looked_at):
            task, clock = tasks[place], float(local.seconds[place])
            if task is None:
                continue
            back = self._last.get(task, clock) - clock
            if back > 0:
                zone = zone_of_twice(clock) if back <= _LONGEST_STEP_BACK_SECONDS else None
                if self._rising.get(task) and zone is not None:
                    return place, zone
                self._rising[task] = False
            elif back < 0:
                self._rising.setdefault(task, True)
            self._last[task] = clock
        return None


def zone_of_twice(clock_seconds: float) -> str | None:
    """A zone where this clock comes twice; None where there is none.

    >>> zone_of_twice(1_698_546_600)  # 2023-10-29 02:30
    'Europe/Berlin'
    """
    return _of_quarter(clock_seconds // _QUARTER_SECONDS)


@lru_cache(maxsize=4096)
def _of_quarter(quarter: float) -> str | None:
    seconds = quarter * _QUARTER_SECONDS
    if not FIRST <= seconds <= LAST:
        return None
    return next((name for name in _ZONES if _twice(seconds, name)), None)


def _twice(seconds: float, name: str) -> bool:
    try:
        zone = ZoneInfo(name)
    except ZoneInfoNotFoundError:
        return False
    return _offset_seconds(seconds, zone, 0) > _offset_seconds(seconds, zone, 1)


def _offset_seconds(clock_seconds: float, zone: ZoneInfo, fold: int) -> float:
    clock = (_EPOCH + timedelta(seconds=clock_seconds)).replace(tzinfo=zone, fold=fold)
    offset = clock.utcoffset()
    return offset.total_seconds() if offset is not None else 0.0
