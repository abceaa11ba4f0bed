"""`streammeta reproduce NAME`: the papers' experiments again, beside the published figures."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from streammeta.machine import machine
from streammeta.reproduce import sinewave as sinewave_
from streammeta.reproduce.plot import require_matplotlib, save_plot
from streammeta.reproduce.report import Measured, Report, Row
from streammeta.reproduce.report import Progress as Told

Command = Callable[..., None]


@click.group()
def reproduce() -> None:
    """Run an experiment of the papers again: a table beside the published figures, and a plot."""


def _outputs(command: Command) -> Command:
    """The options that all experiments have."""
    for option in (
        click.option(
            "--plot", type=click.Path(path_type=Path), metavar="F.png", help="Default: NAME.png, here."
        ),
        click.option("--no-plot", is_flag=True, help="Draw nothing; needs no matplotlib."),
        click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True),
    ):
        command = option(command)
    return command


def _several(choices: Any) -> click.Option | Any:
    return click.Choice([str(choice) for choice in choices])


def _positive(name: str, default: int, text: str) -> Callable[[Command], Command]:
    return click.option(name, type=click.IntRange(min=1), default=default, show_default=True, help=text)


@reproduce.command()
@click.option(
    "--methods",
    "-m",
    multiple=True,
    type=click.Choice([*sinewave_.METHODS]),
    help="Repeatable. Default: all.",
)
@click.option(
    "--shots", "-k", multiple=True, type=click.IntRange(min=1), help="K. Repeatable. Default: 1 and 3."
)
@_positive("--seeds", sinewave_.SEEDS, "Runs of each method.")
@_positive("--iterations", sinewave_.ITERATIONS, "Of MOML; the others see as many examples.")
@_outputs
def sinewave(
    methods: tuple[str, ...], shots: tuple[int, ...], seeds: int, iterations: int, **outputs: Any
) -> None:
    """MOML's table: sinewave regression with few examples (JMLR 24(145), section 5.1)."""
    with _told(**outputs) as (told, show):
        show(
            sinewave_.sinewave(
                told,
                methods=methods or (*sinewave_.METHODS,),
                shots=shots or sinewave_.SHOTS,
                seeds=seeds,
                iterations=iterations,
            )
        )


@contextmanager
def _told(
    *, plot: Path | None, no_plot: bool, output: str
) -> Iterator[tuple[Told, Callable[[Report], None]]]:
    """Progress while the experiment runs, and what to do with its report."""
    if not no_plot:
        require_matplotlib()
    began, reports = time.monotonic(), list[Report]()
    with _progress() as told:
        yield told, reports.append
    for report in reports:
        if not no_plot:
            save_plot(report, plot or Path(f"{report.name}.png"))
        if output == "json":
            click.echo(json.dumps(_as_data(report, time.monotonic() - began)))
        else:
            _print(report)


@contextmanager
def _progress() -> Iterator[Told]:
    """A bar for each part on a terminal; elsewhere a line when a part begins."""
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        known: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total)
                if not console.is_terminal:
                    click.echo(f"{what} …", err=True)
            bars.update(known[what], completed=done)

        yield told


def _as_data(report: Report, seconds: float) -> dict[str, Any]:
    return {
        "experiment": report.name,
        "title": report.title,
        "machine": machine(),
        "seconds": round(seconds, 1),
        "spread": report.spread,
        "rows": [
            {
                "method": row.method,
                "setting": row.setting,
                "measured": {
                    name: figure._asdict() for name, figure in zip(report.measures, row.measured, strict=True)
                },
                "published": row.published and row.published._asdict(),
                "deviations": row.deviations,
            }
            for row in report.rows
        ],
        "notes": report.notes,
    }


def _print(report: Report) -> None:
    compared = any(row.published for row in report.rows)
    columns = ["method", "setting", *report.measures, *(["published", "off by (sd)"] if compared else [])]
    table = Table(*columns, box=None, pad_edge=False, title=report.title, title_justify="left")
    for row in report.rows:
        table.add_row(*_cells(row, compared=compared))
    console = Console(markup=False, highlight=False)
    console.print(table)
    for note in (f"± {report.spread}", *report.notes):
        console.print(note)


def _cells(row: Row, *, compared: bool) -> list[str]:
    cells = [row.method, row.setting, *map(_figure, row.measured)]
    if compared:
        published = _figure(row.published) if row.published else ""
        cells += [published, "" if row.deviations is None else f"{row.deviations:+.1f}"]
    return cells


def _figure(figure: Measured) -> str:
    """Three decimals where they say enough, else three digits."""
    spell = ".3f" if 0.01 <= abs(figure.mean) < 1000 else ".3g"
    mean = f"{figure.mean:{spell}}"
    return mean if figure.spread is None else f"{mean} ± {figure.spread:{spell}}"
