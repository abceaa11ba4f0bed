"""`streammeta bench`: the benchmark suite of this machine."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from streammeta.benchmarks.algorithms import algorithms
from streammeta.benchmarks.events import events
from streammeta.benchmarks.pages import pages
from streammeta.benchmarks.predictions import predictions
from streammeta.benchmarks.recording import recording
from streammeta.benchmarks.result import Result
from streammeta.benchmarks.steps import codec, steps
from streammeta.benchmarks.stream import stream
from streammeta.benchmarks.tasks import tasks
from streammeta.observe.machine import machine

SUITE: Final[dict[str, Callable[[], Iterator[Result]]]] = {
    "events": events,
    "steps": steps,
    "algorithms": algorithms,
    "codec": codec,
    "stream": stream,
    "tasks": tasks,
    "pages": pages,
    "predictions": predictions,
    "recording": recording,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*SUITE]))
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def bench(names: tuple[str, ...], output: str) -> None:
    """Measure this machine: all benchmarks, or those named. Minutes; keep the machine quiet."""
    results = []
    for name in names or SUITE:
        click.echo(f"{name} …", err=True)
        results += [(name, result) for result in SUITE[name]()]
    if output == "json":
        rows = [{"benchmark": name, **result._asdict()} for name, result in results]
        click.echo(json.dumps({"machine": machine(), "results": rows}))
    else:
        _print(results)


def _print(results: list[tuple[str, Result]]) -> None:
    table = Table("benchmark", "figure", "value", "unit", "least to most", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for name, result in results:
        table.add_row(
            name,
            result.name,
            _words(result.value),
            result.unit,
            "" if result.spread is None else f"{_words(result.spread[0])} to {_words(result.spread[1])}",
        )
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()))


def _words(value: float) -> str:
    return f"{value:,.3g}" if value < 100 else f"{value:,.0f}"
