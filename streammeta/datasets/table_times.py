"""A column of times as float64: plain numbers, or seconds since 1970 of dates."""

import re
from datetime import datetime
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from streammeta.datasets.table_cells import Cells, Notation, is_text, numbers
from streammeta.events import Array

_EPOCH: Final = datetime(1970, 1, 1)
_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_UNITS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_QUARTER_SECONDS: Final = 900
_FIRST, _LAST = -62_135_596_800, 253_402_300_799  # the years 1 to 9999


class _Local(NamedTuple):
    """Seconds of clocks since 1970; which have no zone of their own; which are days without an hour."""

    seconds: Array
    naive: Array
    day: Array


class Times:
    """Reads a column, piece by piece.

    Args:
        zone: Of times that name none.
        notation: Of numbers and missing values.
        in_order: An hour that comes twice is read so that a task's times rise; else it is refused.
    """

    def __init__(self, zone: ZoneInfo, notation: Notation, *, in_order: bool) -> None:
        self._zone, self._notation, self._in_order = zone, notation, in_order
        self.dated: bool | None = None
        self._last: dict[str | None, float] = {}

    def read(self, cells: Cells, tasks: list[str | None]) -> Array:
        """Times of the rows; NaN where there is none.

        Raises:
            ConfigError: a value is no time, or its hour comes twice or never in the zone.
        """
        values = cells.plain()
        texts = cells.texts() if is_text(values) else None
        if texts is not None and self._numeric(texts):
            return numbers(cells, self._notation)
        if texts is None and not str(values.type).startswith(("date", "timestamp")):
            self.dated = False if self.dated is None else self.dated
            return numbers(cells, self._notation)
        self.dated = True
        local = _arrow(values) if texts is None else self._parsed(cells, texts)
        early, late = _in_zone(local, self._zone)
        wild = np.flatnonzero((early < _FIRST) | (early > _LAST))
        if len(wild):
            raise cells.wrong(wild[0], early[wild[0]], "is outside the years 1 to 9999")
        return self._settled(cells, early, late, tasks)

    def _numeric(self, texts: list[str | None]) -> bool:
        """Whether the column holds plain numbers: its first value says."""
        if self.dated is None:
            first = next((text for text in texts if text and not self._notation.missing(text)), None)
            if first is None:
                return True
            try:
                self._notation.number(first)
                self.dated = False
            except ValueError:
                self.dated = True
        return not self.dated

    def _parsed(self, cells: Cells, texts: list[str | None]) -> _Local:
        seconds = np.full(len(texts), np.nan)
        naive, day = np.zeros(len(texts), bool), np.zeros(len(texts), bool)
        for place, text in enumerate(texts):
            if text is None or self._notation.missing(text):
                continue
            try:
                moment = _moment(text.strip())
            except ValueError:
                remedy = "write dates as 2024-01-31 or 2024-01-31T12:00:00Z"
                raise cells.wrong(place, text, "is neither a number nor a date", remedy) from None
            offset = moment.utcoffset()
            seconds[place] = (moment.replace(tzinfo=None) - _EPOCH).total_seconds()
            naive[place], day[place] = offset is None, len(text.strip()) <= 10
            if offset is not None:
                seconds[place] -= offset.total_seconds()
        return _Local(seconds, naive, day)

    def _settled(self, cells: Cells, early: Array, late: Array, tasks: list[str | None]) -> Array:
        never = np.flatnonzero(early > late)
        if len(never):
            raise cells.wrong(
                never[0], cells.plain()[never[0]], f"does not exist in {self._zone.key}: clocks went forward"
            )
        twice = np.flatnonzero(early < late)
        if not self._in_order:
            if len(twice):
                raise cells.wrong(
                    twice[0],
                    cells.plain()[twice[0]],
                    f"comes twice in {self._zone.key}: clocks went back",
                    "write its offset, or take the file's order: --ambiguous order",
                )
            return early
        for place, (task, first, second) in enumerate(zip(tasks, early, late, strict=True)):
            if first < second and first <= self._last.get(task, -np.inf):
                early[place] = second
            if not np.isnan(first):
                self._last[task] = early[place]
        return early


def _moment(text: str) -> datetime:
    if text.endswith(" UTC"):
        text = text.removesuffix(" UTC") + "Z"
    text = re.sub(r" (?=Z$|[+-]\d{2}:?\d{2}$)", "", text)
    return datetime.fromisoformat(text + "-01" if _MONTH.fullmatch(text) else text)


def _arrow(values: Any) -> _Local:
    """Of dates and timestamps of any unit."""
    import pyarrow as pa  # its arrays are here, so it is imported

    kind, size = values.type, len(values)
    if pa.types.is_date(kind):
        days = values.cast(pa.date32()).cast(pa.int32()).to_numpy(zero_copy_only=False)
        return _Local(np.asarray(days, np.float64) * 86_400, np.ones(size, bool), np.ones(size, bool))
    counts = np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False), np.float64)
    return _Local(counts / _UNITS[kind.unit], np.full(size, kind.tz is None), np.zeros(size, bool))


def _in_zone(local: _Local, zone: ZoneInfo) -> tuple[Array, Array]:
    """Seconds since 1970 by the first and by the second reading; those differ where clocks change."""
    early, late = local.seconds.copy(), local.seconds.copy()
    if zone.key == "UTC":
        return early, late
    chosen = local.naive & (local.seconds >= _FIRST) & (local.seconds <= _LAST)
    quarters, places = np.unique(local.seconds[chosen] // _QUARTER_SECONDS, return_inverse=True)
    clocks = [datetime.fromtimestamp(quarter * _QUARTER_SECONDS, ZoneInfo("UTC")) for quarter in quarters]
    for fold, seconds in enumerate((early, late)):
        offsets = [clock.replace(tzinfo=zone, fold=fold).utcoffset() for clock in clocks]
        seconds[chosen] -= np.array([offset.total_seconds() for offset in offsets if offset is not None])[
            places
        ]
    late[local.day] = early[local.day]  # a day begins once
    return early, late
