"""`streammeta bench`: the benchmark suite of this machine."""

import json
from collections.abc import Callable, Iterator
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from streammeta.benchmarks.algorithms import algorithms
from streammeta.benchmarks.pages import pages
from streammeta.benchmarks.recording import recording
from streammeta.benchmarks.result import Result
from streammeta.benchmarks.steps import codec, steps
from streammeta.benchmarks.stream import stream
from streammeta.benchmarks.tasks import tasks
from streammeta.observe.machine import machine

SUITE: Final[dict[str, Callable[[], Iterator[Result]]]] = {
    "steps": steps,
    "algorithms": algorithms,
    "codec": codec,
    "stream": stream,
    "tasks": tasks,
    "pages": pages,
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
    table = Table("benchmark", "figure", "value", "unit", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for name, result in results:
        table.add_row(
            name,
            result.name,
            f"{result.value:,.3g}" if result.value < 100 else f"{result.value:,.0f}",
            result.unit,
        )
    console = Console(markup=False, highlight=False)
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()))
