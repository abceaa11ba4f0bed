"""Rows from a file: CSV or Parquet, long (a row an observation) or wide (a row a series).

The used columns are held, 8 bytes a value and 8 for the task, since rows are sent in the order of time; the
others are not. Every failure is a `ConfigError` that names the column, the row (1 is the first below the
header) and the value.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from streammeta.config.suggest import did_you_mean
from streammeta.datasets.table import Rows
from streammeta.datasets.table_cells import Cells, Notation, numbers, rounding, task_ids
from streammeta.datasets.table_files import Dialect, Piece, TableFile, open_table
from streammeta.datasets.table_times import Times, TimeUnit
from streammeta.errors import ConfigError
from streammeta.events import Array

Missing = Literal["fail", "skip"]


class Roles(NamedTuple):
    """Which column is what; without `target` all rows ask, without `time` the order is that of the file."""

    task: str
    features: tuple[str, ...]
    target: str | None
    time: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How the file is read.

    Attributes:
        missing: "skip" leaves out rows without a value in a used column, and counts them in `skipped`.
        zone: Of times that name none; None: UTC, unless their order tells that it is not.
        time_unit: Of times that are numbers since 1970; None: numbers are no dates.
        ambiguous: Of an hour that comes twice, "order" takes the file's order within the task.
        asks: Rows without a target are kept: they ask for a prediction.
        skipped: By column; a row counts once, under its first such column.
    """

    missing: Missing = "fail"
    dialect: Dialect = field(default_factory=Dialect)
    notation: Notation = field(default_factory=Notation)
    zone: ZoneInfo | None = None
    time_unit: TimeUnit | None = None
    ambiguous: Literal["fail", "order"] = "fail"
    asks: bool = False
    skipped: Counter[str] = field(default_factory=Counter)


def load_rows(path: Path, roles: Roles, reading: Reading | None = None) -> Rows:
    """The rows of a long table.

    Raises:
        ConfigError: no such file, no such column, a value that is no number.
    """
    reading = reading or Reading()
    _refuse_twice(path, roles)
    named = tuple(filter(None, (roles.target, roles.time)))
    columns = (roles.task, *roles.features, *named)
    times = Times(
        reading.zone, reading.notation, in_order=reading.ambiguous == "order", unit=reading.time_unit
    )
    found = _Found(len(roles.features), targets=roles.target is not None, timed=roles.time is not None)
    with open_table(path, reading.dialect) as table:
        for piece in table.pieces([_place(path, table, column) for column in columns]):
            found.add(_cells(path, columns, piece), reading, times)
    if not found.tasks and reading.skipped:
        counts = ", ".join(f"{column!r} {rows}" for column, rows in reading.skipped.items())
        raise ConfigError(f"{path}: no row has a value in every used column; without one: {counts} rows")
    return found.rows(times)


class _Found:
    """What was read so far."""

    def __init__(self, features: int, *, targets: bool, timed: bool) -> None:
        self.tasks: list[str] = []
        self._known: dict[str, str] = {}
        self._timed, self._targets = timed, targets
        self._blocks = [np.zeros((0, features + 1 + timed))]
        self._roundings = np.full(features + 1, 1e-12)

    def add(self, cells: Sequence[Cells], reading: Reading, times: Times) -> None:
        """A piece: its task, its numbers, its time."""
        ids = task_ids(cells[0], reading.notation.markers, self._known)
        numeric = cells[1:-1] if self._timed else cells[1:]
        values = [numbers(each, reading.notation) for each in numeric]
        for place, each in enumerate(numeric):
            self._roundings[place] = max(self._roundings[place], rounding(each))
        moments = [times.read(cells[-1], ids)] if self._timed else []
        lacks = [np.array([each is None for each in ids]), *map(np.isnan, values + moments)]
        if reading.asks and self._targets:
            lacks[len(values)][:] = False
        good = _complete(cells, lacks, reading)
        unknown = [] if self._targets else [np.full(len(ids), np.nan)]
        self.tasks += [task for task, kept in zip(ids, good, strict=True) if kept and task is not None]
        self._blocks.append(np.column_stack([*values, *unknown, *moments])[good])

    def rows(self, times: Times) -> Rows:
        """All of it."""
        block, width = np.concatenate(self._blocks), len(self._roundings) - 1
        moments = block[:, -1] if self._timed else None
        return Rows(
            self.tasks,
            block[:, :width],
            block[:, width],
            moments,
            self._timed and times.dated,
            self._roundings,
        )


def load_wide(path: Path, task: str | None, reading: Reading | None = None) -> Rows:
    """The rows of a wide table, such as M4's own files: a series a row, its values in order, then blanks.

    Time is the place of a value in its series, so that the series run side by side.

    Args:
        path: A file with a header.
        task: The column with the series' name; None for the first.
        reading: How.

    Raises:
        ConfigError: no such file or column, a value that is no number, a blank between values.
    """
    reading = reading or Reading()
    known: dict[str, str] = {}
    tasks: list[str] = []
    blocks: list[Array] = []
    with open_table(path, reading.dialect) as table:
        first = 0 if task is None else _place(path, table, task)
        order = [first, *(place for place in range(len(table.names)) if place != first)]
        for piece in table.pieces(order):
            cells = _cells(path, [table.names[place] for place in order], piece)
            names = _names(cells[0], reading, known)
            blocks.append(_values(cells[1:], len(names), reading))
            tasks += names
    block = np.concatenate(blocks) if blocks else np.zeros((0, 0))
    rows, places = np.nonzero(~np.isnan(block))
    return Rows(
        [tasks[row] for row in rows], np.zeros((len(rows), 0)), block[rows, places], places.astype(np.float64)
    )


def _names(cells: Cells, reading: Reading, known: dict[str, str]) -> list[str]:
    ids = task_ids(cells, reading.notation.markers, known)
    if None in ids:
        raise cells.no_value(ids.index(None))
    return [each for each in ids if each is not None]


def _values(cells: Sequence[Cells], rows: int, reading: Reading) -> Array:
    """(rows, columns), NaN behind the end of each series."""
    if not cells:
        return np.zeros((rows, 0))
    return _without_holes(cells, np.column_stack([numbers(each, reading.notation) for each in cells]))


def _refuse_twice(path: Path, roles: Roles) -> None:
    """A feature that is the target would tell the answer; one named twice is a slip."""
    twice = [name for name, times in Counter((*roles.features, roles.target)).items() if times > 1]
    if twice:
        raise ConfigError(
            f"{path}: column {twice[0]!r} is used twice; name each feature once, and not the target"
        )


def _without_holes(cells: Sequence[Cells], block: Array) -> Array:
    here = ~np.isnan(block)
    holes = np.argwhere(~here[:, :-1] & here[:, 1:])
    if len(holes):
        row, place = (int(number) for number in holes[0])
        raise ConfigError(
            f"{cells[place].path}: column {cells[place].column!r}, row {cells[place].first_row + row}: no "
            "value, but one follows; a series has blanks at its end alone"
        )
    return block


def _place(path: Path, table: TableFile, column: str) -> int:
    names = list(table.names)
    if column not in names:
        hint = did_you_mean(column, names) or f"; its columns are {', '.join(names[:20])}"
        divided = next((mark for mark in ";\t|" if len(names) == 1 and mark in names[0]), None)
        hint = f"; its one column is {names[0]!r}: try --delimiter {divided!r}" if divided else hint
        raise ConfigError(f"{path}: no column {column!r}{hint}")
    if names.count(column) > 1:
        raise ConfigError(
            f"{path}: {names.count(column)} columns are named {column!r}; the first line must name a "
            "used column once"
        )
    return names.index(column)


def _cells(path: Path, columns: Sequence[str], piece: Piece) -> list[Cells]:
    return [
        Cells(path, column, piece.first_row, values)
        for column, values in zip(columns, piece.columns, strict=True)
    ]


def _complete(cells: Sequence[Cells], missing: Sequence[Array], reading: Reading) -> Array:
    """Which rows have all their values; the others are refused, or counted."""
    good = np.ones(len(missing[0]), bool)
    for each, lacks in zip(cells, missing, strict=True):
        lost = np.flatnonzero(lacks & good)
        if len(lost) and reading.missing == "fail":
            raise each.no_value(lost[0])
        if len(lost):
            reading.skipped[each.column] += len(lost)
        good &= ~lacks
    return good
