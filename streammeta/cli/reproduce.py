"""`streammeta reproduce NAME`: the papers' experiments again, beside the published figures."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.observe.machine import machine
from streammeta.reproduce import drift as drift_
from streammeta.reproduce import memory as memory_
from streammeta.reproduce import mnist1d as mnist1d_
from streammeta.reproduce import omniglot as omniglot_
from streammeta.reproduce import quadratic as quadratic_
from streammeta.reproduce import steps as steps_
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.m4 import experiment as m4_
from streammeta.reproduce.plot import require_matplotlib, save_plot
from streammeta.reproduce.report import Curve, Measured, Report, Row
from streammeta.reproduce.report import Progress as Told
from streammeta.reproduce.sinewave import experiment as sinewave_
from streammeta.reproduce.sinewave.methods import METHODS

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
        FORMAT,
    ):
        command = option(command)
    return command


def _methods(names: Iterable[str]) -> Callable[[Command], Command]:
    return click.option(
        "--methods",
        "-m",
        multiple=True,
        type=click.Choice([*names]),
        help="Repeatable. Default: all of them.",
    )


def _shots(default: str) -> Callable[[Command], Command]:
    return click.option(
        "--shots", "-k", multiple=True, type=click.IntRange(min=1), help=f"Repeatable. Default: {default}."
    )


def _positive(name: str, default: int, text: str) -> Callable[[Command], Command]:
    return click.option(name, type=click.IntRange(min=1), default=default, show_default=True, help=text)


@reproduce.command()
@_methods(METHODS)
@_shots("1 and 3")
@_positive("--seeds", sinewave_.SEEDS, "Runs of each method.")
@_positive("--iterations", sinewave_.ITERATIONS, "Of MOML; the others see as many examples.")
@_outputs
def sinewave(
    methods: tuple[str, ...], shots: tuple[int, ...], seeds: int, iterations: int, **outputs: Any
) -> None:
    """MOML's table: sinewave regression from few examples (JMLR 24(145), section 5.1).

    Example: streammeta reproduce sinewave --methods moml --seeds 1
    """
    experiment = partial(
        sinewave_.sinewave,
        methods=methods or (*METHODS,),
        shots=shots or sinewave_.SHOTS,
        seeds=seeds,
        iterations=iterations,
    )
    _run(experiment, **outputs)


@reproduce.command()
@_positive("--seeds", quadratic_.SEEDS, "Draws of the tasks.")
@_outputs
def quadratic(seeds: int, **outputs: Any) -> None:
    """FO-B-MAML's orders, floors and outer steps, where all is known (arXiv:2409.03682).

    Example: streammeta reproduce quadratic --seeds 3
    """
    _run(partial(quadratic_.quadratic, seeds=seeds), **outputs)


@reproduce.command()
@_positive("--seeds", steps_.SEEDS, "Runs at each N.")
@_positive("--iterations", steps_.ITERATIONS, "Meta-updates of a run.")
@click.option(
    "--inner-steps", "-n", multiple=True, type=click.IntRange(min=1), help="N. Repeatable. Default: 1 to 10."
)
@_outputs
def steps(seeds: int, iterations: int, inner_steps: tuple[int, ...], **outputs: Any) -> None:
    """Multi-step MAML: α fixed against α ∝ 1/N (JMLR 23(1), 2022).

    Example: streammeta reproduce steps --inner-steps 1 --inner-steps 5
    """
    chosen = inner_steps or steps_.INNER_STEPS
    _run(partial(steps_.steps, inner_steps=chosen, seeds=seeds, iterations=iterations), **outputs)


@reproduce.command()
@_positive("--seeds", drift_.SEEDS, "Streams.")
@_outputs
def drift(seeds: int, **outputs: Any) -> None:
    """Tasks that jump: how soon that is noticed, how often wrongly, and what a restarted memory does.

    Example: streammeta reproduce drift --seeds 1
    """
    _run(partial(drift_.drift, seeds=seeds), **outputs)


@reproduce.command()
@_methods(LEARNERS)
@_outputs
def memory(methods: tuple[str, ...], **outputs: Any) -> None:
    """Peak memory of a meta-update against inner steps and channels (arXiv:2412.12030, arXiv:2409.03682).

    Example: streammeta reproduce memory --methods moml
    """
    _run(partial(memory_.memory, methods=methods or (*LEARNERS,)), **outputs)


@reproduce.command()
@_methods(LEARNERS)
@_shots("1 and 5")
@click.option("--data", metavar="F", type=click.Path(path_type=Path), help="As for produce omniglot.")
@_positive("--events", omniglot_.EVENTS, "To learn from, one meta-update each.")
@click.option(
    "--episodes",
    type=click.IntRange(min=2),
    default=omniglot_.EPISODES,
    show_default=True,
    help="Of the score.",
)
@_positive("--channels", omniglot_.CHANNELS, "Of the network; the papers have 64.")
@_outputs
def omniglot(
    methods: tuple[str, ...],
    shots: tuple[int, ...],
    data: Path | None,
    events: int,
    episodes: int,
    channels: int,
    **outputs: Any,
) -> None:
    """Omniglot, 5-way, on alphabets that were never learned from.

    Example: streammeta reproduce omniglot --events 2000
    """
    experiment = partial(
        omniglot_.omniglot,
        data=data,
        methods=methods or omniglot_.METHODS,
        shots=shots or omniglot_.SHOTS,
        events=events,
        episodes=episodes,
        channels=channels,
    )
    _run(experiment, **outputs)


@reproduce.command()
@_methods(LEARNERS)
@_positive("--events", mnist1d_.EVENTS, "To learn from, one meta-update each.")
@click.option(
    "--episodes",
    type=click.IntRange(min=2),
    default=mnist1d_.EPISODES,
    show_default=True,
    help="Of the score.",
)
@_positive("--channels", mnist1d_.CHANNELS, "Of the network.")
@_outputs
def mnist1d(methods: tuple[str, ...], events: int, episodes: int, channels: int, **outputs: Any) -> None:
    """Few-shot MNIST-1D, generated from its recipe: accuracy and memory of each algorithm.

    Example: streammeta reproduce mnist1d --events 2000
    """
    chosen = methods or (*LEARNERS,)
    experiment = partial(
        mnist1d_.mnist1d, methods=chosen, events=events, episodes=episodes, channels=channels
    )
    _run(experiment, **outputs)


@reproduce.command()
@_methods(m4_.METHODS)
@click.option(
    "--data", metavar="F", required=True, type=click.Path(path_type=Path), help="M4 hourly: CSV or CSV.gz."
)
@click.option("--wide", is_flag=True, help="A row is a series, as in M4's own Hourly-train.csv.")
@click.option("--series", "count", type=click.IntRange(min=1), metavar="N", help="The first N. [all]")
@click.option("--hours", type=click.IntRange(min=1), metavar="H", help="The first H of each. [all]")
@_outputs
def m4(
    methods: tuple[str, ...],
    data: Path,
    wide: bool,
    count: int | None,
    hours: int | None,
    **outputs: Any,
) -> None:
    """M4 hourly through Kafka: the next hour of 414 series, forecast before it is learned from.

    Example: streammeta reproduce m4 --data hourly.csv.gz --series 50
    """
    chosen = methods or m4_.METHODS
    _run(partial(m4_.m4, data=data, wide=wide, methods=chosen, count=count, hours=hours), **outputs)


def _run(experiment: Callable[[Told], Report], *, plot: Path | None, no_plot: bool, form: str) -> None:
    """Progress while the experiment runs; then its plot and its table."""
    if not no_plot:
        require_matplotlib()
    began = time.monotonic()
    with _progress() as told:
        report = experiment(told)
    if not no_plot:
        save_plot(report, plot or Path(f"{report.name}.png"))
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
