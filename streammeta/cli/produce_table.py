"""`streammeta produce table`: a file's rows as labelled examples."""

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click

from streammeta.cli.reading_options import WARM_UP, counts_of, gap, reading_of, told
from streammeta.cli.saying import say
from streammeta.cli.sending import AT_LEAST_ONE, TARGET, Finite, option, send, with_options
from streammeta.datasets.table import Example, Rows, Tally, series
from streammeta.datasets.table import table as examples_of
from streammeta.datasets.table_data import Missing, Reading, Roles, load_rows, load_wide
from streammeta.datasets.table_gaps import usual_gaps
from streammeta.datasets.table_scaling import Scaling
from streammeta.datasets.table_times import TimeUnit
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
    option(
        "--ask",
        is_flag=True,
        help="Rows without a target, or without --target all, ask for a prediction; a series asks behind its "
        "last value.",
    ),
    option("--classes", is_flag=True, help="The target is a class number and is not scaled."),
    option(
        "--missing",
        type=click.Choice(["fail", "skip"]),
        default="fail",
        help="Rows without a value in a used column: refused, or left out and counted.",
    ),
    option("--na", multiple=True, metavar="TEXT", help="Stands for no value too [NA, null, -, ?, …]."),
    option("--delimiter", metavar="C", help="Between the columns of a CSV [a comma; a tab in .tsv]."),
    option(
        "--decimal", type=click.Choice([",", "."]), help="Decimal mark; the other one divides thousands [.]."
    ),
    option("--encoding", default="utf-8", help="Of a CSV: latin-1, cp1252, utf-16, …"),
    option("--timezone", metavar="ZONE", help="Of times that name none, such as Europe/Berlin [UTC]."),
    option(
        "--time-unit",
        type=click.Choice(["s", "ms", "us", "ns"]),
        help="Numbers of --time are so many of these since 1970: event times [numbers of any kind].",
    ),
    option(
        "--ambiguous",
        type=click.Choice(["fail", "order"]),
        default="fail",
        help="Times that come twice as clocks go back: refused, or told apart by the file's order.",
    ),
    option(
        "--gap",
        metavar="F|none",
        callback=gap,
        help="Series: a longer step of --time begins a new window [1.5 of a task's usual step].",
    ),
    option(
        "--warm-up",
        type=click.IntRange(min=0),
        metavar="N",
        help="A task's first N rows only scale its later ones and are not sent "
        f"[{WARM_UP}; 0 with --scaling none].",
    ),
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
    ask: bool,
    classes: bool,
    missing: Missing,
    gap: float | None,
    warm_up: int | None,
    speed: float | None,
    wire: Format,
    na: tuple[str, ...],
    delimiter: str | None,
    decimal: str | None,
    encoding: str,
    timezone: str | None,
    ambiguous: Literal["fail", "order"],
    time_unit: TimeUnit | None,
    **where: Any,
) -> None:
    """Examples from a table: CSV, CSV.gz or Parquet; to be read with events.kind = "examples".

    Per row: --task COLUMN --features A,B --target COLUMN. For series: --window W --horizon H, and --task and
    --target, or --wide. Every number is scaled by what its task showed before; the record has the target's
    level and scale beside x and y. With --ask records without y are answered on [predict] output_topic.

    Example: streammeta produce table sales.csv --task shop --features price,day --target sold
    """
    _check(features=features, window=window, horizon=horizon, wide=wide, classes=classes, target=target)
    if ask and not (target or window or classes or scaling == "none"):
        raise click.UsageError(
            "--ask without --target: no row tells the target's level and scale; give --scaling none, or "
            "--target and the rows that have it"
        )
    _check_time(time, wide=wide, speed=speed, rate=where["rate"])
    if gap is not None and (time is None or window is None):
        raise click.UsageError("--gap is for series with --time: it breaks their windows")
    if time_unit is not None and time is None:
        raise click.UsageError("--time-unit is of the numbers in --time; give --time too")
    reading = reading_of(
        missing, na, delimiter, decimal, encoding, timezone, ambiguous, time_unit, asks=ask and window is None
    )
    rows, tally = _rows(file, task, features, target, time, reading, wide=wide), Tally()
    cold = (0 if scaling == "none" else WARM_UP) if warm_up is None else warm_up
    stream = _stream(rows, window, horizon or 1, scaling, cold, gap, tally, classes=classes, ask=ask)
    messages = table_messages(stream, wire, dated=rows.dated, speed=speed or math.inf)
    left_out = partial(counts_of, reading.skipped, tally)
    send(messages, by_schedule=speed is not None, left_out=left_out, **where)
    for line in told(reading.skipped, tally):
        say(line, err=True)


def _rows(
    file: Path,
    task: str | None,
    features: str | None,
    target: str | None,
    time: str | None,
    reading: Reading,
    *,
    wide: bool,
) -> Rows:
    if wide:
        return load_wide(file, task, reading)
    if task is None or (target is None and not reading.asks):
        raise click.UsageError(
            "--task and --target name the columns; a table of a series a row needs --wide, one without a "
            "target --ask"
        )
    names = tuple(name.strip() for name in (features or "").split(",") if name.strip())
    return load_rows(file, Roles(task, names, target, time), reading)


def _stream(
    rows: Rows,
    window: int | None,
    horizon: int,
    scaling: Scaling,
    warm_up: int,
    gap: float | None,
    tally: Tally,
    *,
    classes: bool,
    ask: bool,
) -> Iterator[Example]:
    if window is not None:
        gaps = usual_gaps(rows) if gap is None else dict.fromkeys(rows.tasks, gap)
        return series(
            rows,
            window=window,
            horizon=horizon,
            scaling=scaling,
            warm_up=warm_up,
            gaps=gaps,
            ask=ask,
            tally=tally,
        )
    if scaling == "window":
        raise click.UsageError("--scaling window is for series; give --window too")
    return examples_of(rows, scaling=scaling, scale_target=not classes, warm_up=warm_up, tally=tally)


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
