"""Rows from a file: CSV, CSV.gz or Parquet, long (a row an observation) or wide (a row a series).

Every failure is a `ConfigError` that names the column, the row (1 is the first below the header) and the
value.
"""

import csv
import gzip
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

import numpy as np

from streammeta.config.suggest import did_you_mean
from streammeta.datasets.table import Rows
from streammeta.errors import ConfigError
from streammeta.events import Array

Missing = Literal["fail", "skip"]
_MISSING = ("", "NA", "NaN", "nan", "null")

Columns = Mapping[str, Sequence[Any]]


class Roles(NamedTuple):
    """Which column is what; `time` is None where the file's order is that of time."""

    task: str
    features: tuple[str, ...]
    target: str
    time: str | None


def load_rows(path: Path, roles: Roles, missing: Missing = "fail") -> Rows:
    """The rows of a long table; with "skip", rows with a missing value are left out.

    Raises:
        ConfigError: no such file, no such column, a value that is no number.
    """
    columns = _columns(path)
    for column in (roles.task, *roles.features, roles.target, *filter(None, [roles.time])):
        if column not in columns:
            known = list(columns)
            hint = did_you_mean(column, known) or f"; its columns are {', '.join(known[:20])}"
            raise ConfigError(f"{path}: no column {column!r}{hint}")
    used = [_numbers(path, name, columns[name], missing) for name in (*roles.features, roles.target)]
    times, dated = None, False
    if roles.time is not None:
        times, dated = _times(path, roles.time, columns[roles.time], missing)
    tasks = [_task(path, roles.task, row, value) for row, value in enumerate(columns[roles.task], 1)]
    table = np.column_stack(used)
    good = ~np.isnan(table).any(1) & (True if times is None else ~np.isnan(times))
    return Rows(
        [task for task, kept in zip(tasks, good, strict=True) if kept],
        table[good, :-1],
        table[good, -1],
        None if times is None else times[good],
        dated,
    )


def load_wide(path: Path, task: str | None) -> Rows:
    """The rows of a wide table, such as M4's own files: a series a row, its values in order, then blanks.

    Time is the place of a value in its series, so that the series run side by side.

    Args:
        path: A CSV or CSV.gz file with a header.
        task: The column with the series' name; None for the first.

    Raises:
        ConfigError: no such file or column, a value that is no number, a blank between values.
    """
    columns = _columns(path)
    name = next(iter(columns)) if task is None else task
    if name not in columns:
        raise ConfigError(f"{path}: no column {name!r}{did_you_mean(name, list(columns))}")
    tasks = [_task(path, name, row, value) for row, value in enumerate(columns[name], 1)]
    others = {
        column: _numbers(path, column, values, "skip") for column, values in columns.items() if column != name
    }
    table = np.column_stack([*others.values()]) if others else np.zeros((len(tasks), 0))
    here = ~np.isnan(table)
    gaps = np.argwhere(~here[:, :-1] & here[:, 1:])
    if len(gaps):
        row, place = (int(number) for number in gaps[0])
        raise ConfigError(
            f"{path}: column {[*others][place]!r}, row {row + 1}: no value, but one follows; a series has "
            "blanks at its end alone"
        )
    rows, places = np.nonzero(here)
    return Rows(
        [tasks[row] for row in rows], np.zeros((len(rows), 0)), table[rows, places], places.astype(np.float64)
    )


def _columns(path: Path) -> Columns:
    try:
        if path.suffix in (".parquet", ".pq"):
            return _parquet(path)
        with _opened(path) as text:
            return _csv(path, text)
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; name a .csv, .csv.gz or .parquet") from error
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a .csv, .csv.gz or .parquet") from error


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _csv(path: Path, text: TextIO) -> Columns:
    rows = csv.reader(text)
    header = next(rows, [])
    if len(set(header)) < len(header) or not header:
        raise ConfigError(f"{path}: the first line must name the columns, each once; it is {header[:20]}")
    columns: list[list[str]] = [[] for _ in header]
    for number, row in enumerate(_not_blank(rows), 1):
        if len(row) != len(header):
            raise ConfigError(f"{path}: row {number} has {len(row)} values, the header names {len(header)}")
        for column, value in zip(columns, row, strict=True):
            column.append(value)
    return dict(zip(header, columns, strict=True))


def _not_blank(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    return (row for row in rows if row)


def _parquet(path: Path) -> Columns:
    try:
        import pyarrow.parquet as pq  # needed for Parquet alone
    except ImportError as error:
        raise ConfigError(
            f"{path}: reading Parquet needs pyarrow; install it: pip install pyarrow"
        ) from error
    return {str(name): values for name, values in pq.read_table(path).to_pydict().items()}


def _task(path: Path, column: str, row: int, value: Any) -> str:
    text = "" if value is None else str(value)
    if not 1 <= len(text.encode()) <= 256:
        raise _wrong(path, column, row, text, "is no task id (1 to 256 bytes)")
    return text


def _numbers(path: Path, column: str, values: Sequence[Any], missing: Missing) -> Array:
    """The column as float64; NaN where a value is missing and may be."""
    numbers = np.empty(len(values))
    for place, value in enumerate(values):
        if value is None or (isinstance(value, str) and value.strip() in _MISSING):
            _refuse_missing(path, column, place + 1, missing)
            numbers[place] = math.nan
            continue
        try:
            numbers[place] = float(value)
        except (TypeError, ValueError):
            raise _wrong(path, column, place + 1, value, "is no number") from None
        if not math.isfinite(numbers[place]):
            raise _wrong(path, column, place + 1, value, "is not finite")
    return numbers


def _times(path: Path, column: str, values: Sequence[Any], missing: Missing) -> tuple[Array, bool]:
    """Plain numbers, or seconds since 1970 of dates (RFC 3339; without a zone: UTC); whether it is dates."""
    try:
        return _numbers(path, column, values, missing), False
    except ConfigError:
        if not isinstance(values[0], str | datetime):
            raise
    seconds = np.empty(len(values))
    for place, value in enumerate(values):
        try:
            moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value).strip())
        except ValueError:
            raise _wrong(path, column, place + 1, value, "is neither a number nor a date") from None
        seconds[place] = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return seconds, True


def _refuse_missing(path: Path, column: str, row: int, missing: Missing) -> None:
    if missing == "fail":
        raise ConfigError(
            f"{path}: column {column!r}, row {row}: no value; fill it, or leave such rows out: --missing skip"
        )


def _wrong(path: Path, column: str, row: int, value: Any, what: str) -> ConfigError:
    return ConfigError(f"{path}: column {column!r}, row {row}: {str(value)[:60]!r} {what}; correct the table")
