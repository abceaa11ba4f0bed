"""A column of times as float64: plain numbers, or seconds since 1970 of dates."""

import re
from datetime import datetime
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo

import numpy as np

from streammeta.datasets.table_cells import Cells, Notation, is_text, numbers
from streammeta.datasets.table_clocks import FIRST, LAST, Backsteps, Local, in_zone
from streammeta.errors import ConfigError
from streammeta.events import Array

_EPOCH: Final = datetime(1970, 1, 1)
_MONTH: Final = re.compile(r"\d{4}-\d{2}")
_UTC: Final = ZoneInfo("UTC")
_UNITS: Final = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
TimeUnit = Literal["s", "ms", "us", "ns"]


class Times:
    """Reads a column, piece by piece.

    Args:
        zone: Of times that name none; None: UTC, refused where their own order tells that it is not.
        notation: Of numbers and missing values.
        in_order: An hour that comes twice is read so that a task's times rise; else it is refused.
        unit: Numbers are so many of it since 1970; None: they are no dates.
    """

    def __init__(
        self, zone: ZoneInfo | None, notation: Notation, *, in_order: bool, unit: TimeUnit | None = None
    ) -> None:
        self._zone, self._notation, self._in_order, self._unit = zone or _UTC, notation, in_order, unit
        self._backsteps = Backsteps() if zone is None else None
        self._numbers: bool | None = None
        self._last: dict[str | None, float] = {}

    def read(self, cells: Cells, tasks: list[str | None]) -> Array:
        """Times of the rows; NaN where there is none.

        Raises:
            ConfigError: a value is no time, or its hour comes twice or never in the zone.
        """
        values = cells.plain()
        texts = cells.texts() if is_text(values) else None
        self._look_at_kind(values, texts)
        if self._numbers is not False:
            return self._counted(cells)
        if self._unit is not None:
            raise ConfigError(
                f"{cells.path}: column {cells.column!r} holds dates; --time-unit is for numbers"
            )
        local = _arrow(values) if texts is None else self._parsed(cells, texts)
        self._refuse_backsteps(cells, local, tasks)
        early, late = in_zone(local, self._zone)
        _refuse_wild(cells, early)
        return self._settled(cells, early, late, tasks)

    @property
    def dated(self) -> bool:
        """Whether the times are seconds since 1970."""
        return self._numbers is False or self._unit is not None

    def _look_at_kind(self, values: Any, texts: list[str | None] | None) -> None:
        """Find out once whether the column holds numbers or dates: of text its first value says."""
        if self._numbers is not None:
            return
        if texts is None:
            self._numbers = not str(values.type).startswith(("date", "timestamp"))
            return
        first = next((text for text in texts if text and not self._notation.missing(text)), None)
        if first is not None:
            try:
                self._notation.number(first)
                self._numbers = True
            except ValueError:
                self._numbers = False

    def _counted(self, cells: Cells) -> Array:
        """Of a column of plain numbers."""
        counts = numbers(cells, self._notation)
        if self._unit is None:
            return counts
        seconds = counts / _UNITS[self._unit]
        _refuse_wild(cells, seconds)
        return seconds

    def _refuse_backsteps(self, cells: Cells, local: Local, tasks: list[str | None]) -> None:
        found = self._backsteps and self._backsteps.look(tasks, local)
        if found:
            place, zone = found
            raise cells.wrong(
                place,
                cells.plain()[place],
                f"comes after a later time of task {tasks[place]!r}, as where clocks go back",
                f"name the zone, such as --timezone {zone} --ambiguous order; if it is UTC: --timezone UTC",
            )

    def _parsed(self, cells: Cells, texts: list[str | None]) -> Local:
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
        return Local(seconds, naive, day)

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


def _refuse_wild(cells: Cells, seconds: Array) -> None:
    wild = np.flatnonzero((seconds < FIRST) | (seconds > LAST))
    if len(wild):
        raise cells.wrong(wild[0], cells.plain()[int(wild[0])], "is outside the years 1 to 9999")


def _moment(text: str) -> datetime:
    if text.endswith(" UTC"):
        text = text.removesuffix(" UTC") + "Z"
    text = re.sub(r" (?=Z$|[+-]\d{2}:?\d{2}$)", "", text)
    return datetime.fromisoformat(text + "-01" if _MONTH.fullmatch(text) else text)


def _arrow(values: Any) -> Local:
    """Of dates and timestamps of any unit."""
    import pyarrow as pa  # its arrays are here, so it is imported

    kind, size = values.type, len(values)
    if pa.types.is_date(kind):
        days = values.cast(pa.date32()).cast(pa.int32()).to_numpy(zero_copy_only=False)
        return Local(np.asarray(days, np.float64) * 86_400, np.ones(size, bool), np.ones(size, bool))
    counts = np.asarray(values.cast(pa.int64()).to_numpy(zero_copy_only=False), np.float64)
    return Local(counts / _UNITS[kind.unit], np.full(size, kind.tz is None), np.zeros(size, bool))
