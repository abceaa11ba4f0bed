"""An experiment from the command line: progress while it runs; then its plot, and its table or its data."""

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.observe.machine import machine
from streammeta.report.style import require_matplotlib, write
from streammeta.reproduce.plot import experiment_picture
from streammeta.reproduce.report import Curve, Measured, Report, Row
from streammeta.reproduce.report import Progress as Told


def run_experiment(
    experiment: Callable[[Told], Report], *, plot: Path | None, no_plot: bool, form: str
) -> None:
    """Progress while the experiment runs; then its plot and its table."""
    if not no_plot:
        require_matplotlib("give --no-plot")
    began = time.monotonic()
    with _progress() as told:
        report = experiment(told)
    if not no_plot:
        write(experiment_picture(report, datetime.now(UTC)), plot or Path(f"{report.name}.png"), "--plot")
    if form == "json":
        say(json.dumps(_as_data(report, time.monotonic() - began)))
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
                    say(f"{what} …", err=True)
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
                    name: _finite(figure) for name, figure in zip(report.measures, row.measured, strict=True)
                },
                "published": row.published and _finite(row.published),
                "deviations": row.deviations,
            }
            for row in report.rows
        ],
        "notes": report.notes,
        "panels": [
            panel._asdict() | {"curves": [_curve(curve) for curve in panel.curves]} for panel in report.panels
        ],
    }


def _curve(curve: Curve) -> dict[str, Any]:
    numbers = {name: [*map(_or_none, getattr(curve, name))] for name in ("x", "y", "spread")}
    return {"label": curve.label} | numbers


def _finite(figure: Measured) -> dict[str, float | None]:
    return {name: _or_none(value) for name, value in figure._asdict().items()}


def _or_none(value: float | None) -> float | None:
    """JSON has no infinity: null."""
    return value if value is not None and math.isfinite(value) else None


def _print(report: Report) -> None:
    compared = any(row.published for row in report.rows)
    columns = ["method", "setting", *report.measures, *(["published", "off by (sd)"] if compared else [])]
    print_table(columns, (_cells(row, compared=compared) for row in report.rows), title=report.title)
    for note in (f"± {report.spread}", *report.notes):
        say(note)


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
