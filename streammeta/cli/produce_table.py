"""`streammeta produce table`: a file's rows as labelled examples."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from streammeta.cli.sending import AT_LEAST_ONE, TARGET, Finite, option, send, with_options
from streammeta.datasets.table import Example, Rows, Scaling, series
from streammeta.datasets.table import table as examples_of
from streammeta.datasets.table_data import Missing, Roles, load_rows, load_wide
from streammeta.sending.messages import Format, table_messages


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@with_options(
    option("--task", metavar="COLUMN", help="The task of a row; with --wide [the first column]."),
    option("--features", metavar="A,B,…", help="Columns of x."),
    option("--target", metavar="COLUMN", help="Column of y, or of a series' values."),
    option("--time", metavar="COLUMN", help="Numbers or dates; rows are sent in this order [the file's]."),
    option("--window", type=AT_LEAST_ONE, metavar="W", help="Series: x is the last W values."),
    option("--horizon", type=AT_LEAST_ONE, metavar="H", help="Series: y is the H values that follow [1]."),
    option("--wide", is_flag=True, help="A row is a series, its values in order, as in M4's own files."),
    option(
        "--scaling",
        type=click.Choice(["past", "window", "none"]),
        default="past",
        help="By what the task showed before the row, by the window's mean and deviation, or not at all.",
    ),
    option("--classes", is_flag=True, help="The target is a class number and is not scaled."),
    option("--missing", type=click.Choice(["fail", "skip"]), default="fail", help="Rows without a value."),
    option(
        "--speed",
        type=Finite(min=0, min_open=True),
        metavar="F",
        help="Units of --time that pass in a second (of dates: seconds), in place of --rate.",
    ),
    *TARGET,
)
def table(
    file: Path,
    task: str | None,
    features: str | None,
    target: str | None,
    time: str | None,
    window: int | None,
    horizon: int | None,
    wide: bool,
    scaling: Scaling,
    classes: bool,
    missing: Missing,
    speed: float | None,
    form: Format,
    **where: Any,
) -> None:
    """Examples from a table: CSV, CSV.gz or Parquet; to be read with events.kind = "examples".

    Per row: --task COLUMN --features A,B --target COLUMN. For series: --window W --horizon H, and --task and
    --target, or --wide. Every number is scaled by what its task showed before; the record has the target's
    level and scale beside x and y.
    """
    _check(features=features, window=window, horizon=horizon, wide=wide, classes=classes, target=target)
    _check_time(time, wide=wide, speed=speed, rate=where["rate"])
    rows = _rows(file, task, features, target, time, wide=wide, missing=missing)
    stream = _stream(rows, window, horizon or 1, scaling, classes=classes)
    messages = table_messages(stream, form, dated=rows.dated, speed=speed or math.inf)
    send(messages, by_schedule=speed is not None, **where)


def _rows(
    file: Path,
    task: str | None,
    features: str | None,
    target: str | None,
    time: str | None,
    *,
    wide: bool,
    missing: Missing,
) -> Rows:
    if wide:
        return load_wide(file, task)
    if task is None or target is None:
        raise click.UsageError("--task and --target name the columns; a table of a series a row needs --wide")
    names = tuple(name.strip() for name in (features or "").split(",") if name.strip())
    return load_rows(file, Roles(task, names, target, time), missing)


def _stream(
    rows: Rows, window: int | None, horizon: int, scaling: Scaling, *, classes: bool
) -> Iterator[Example]:
    if window is not None:
        return series(rows, window=window, horizon=horizon, scaling=scaling)
    if scaling == "window":
        raise click.UsageError("--scaling window is for series; give --window too")
    return examples_of(rows, scaling=scaling, scale_target=not classes)


def _check(
    *,
    features: str | None,
    window: int | None,
    horizon: int | None,
    wide: bool,
    classes: bool,
    target: str | None,
) -> None:
    """Refuse options that do not go together."""
    if (features is None) == (window is None):
        raise click.UsageError("give --features A,B for rows, or --window W for series; one of them")
    if window is None and (horizon is not None or wide):
        raise click.UsageError("--horizon and --wide are for series; give --window too")
    if window is not None and classes:
        raise click.UsageError("--classes is for rows: the targets of a series are its values")
    if wide and target is not None:
        raise click.UsageError("--target names a column; with --wide every column but --task is a value")


def _check_time(time: str | None, *, wide: bool, speed: float | None, rate: float | None) -> None:
    if wide and time is not None:
        raise click.UsageError("--time names a column; with --wide the time is the place in the series")
    if speed is not None and (rate is not None or not (time or wide)):
        raise click.UsageError("--speed needs --time (or --wide), and takes the place of --rate")
