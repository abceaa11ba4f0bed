"""`streammeta federated simulate`: LocalMOML over many clients, on Flower's simulation engine."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from streammeta.cli.saying import say
from streammeta.federated.metrics import Figures
from streammeta.federated.plan import Plan
from streammeta.federated.rounds import Report
from streammeta.federated.simulation import Nodes, require_flower, simulate
from streammeta.observe.machine import machine


@click.group()
def federated() -> None:
    """Learn across clients that keep their data: LocalMOML and Per-FedAvg as a Flower app."""


@federated.command("simulate")
@click.option(
    "--data",
    "kind",
    type=click.Choice(["sinewave", "omniglot"]),
    default="sinewave",
    show_default=True,
    help="What clients have: a sine wave each, or an alphabet each.",
)
@click.option(
    "--omniglot", "drawings", metavar="F", type=click.Path(path_type=Path), help="As for produce omniglot."
)
@click.option("--clients", type=click.IntRange(min=1), default=25, show_default=True)
@click.option(
    "--unseen", type=click.IntRange(min=0), default=20, show_default=True, help="Clients tested alone."
)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the clients in a round.  [default: 1 across silos, 0.12 across devices]",
)
@click.option("--silo", is_flag=True, help="Cross-silo: clients keep their memory from round to round.")
@click.option("--rounds", type=click.IntRange(min=0), help="Stop after so many in the life of the state.")
@click.option(
    "--duration", "seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after S seconds."
)
@click.option(
    "--round-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=600.0,
    show_default=True,
    help="Wait no longer for a client.",
)
@click.option("--local-steps", type=click.IntRange(min=1), default=5, show_default=True, help="H.")
@click.option(
    "--shots", type=click.IntRange(min=1), default=3, show_default=True, help="K, examples of a step."
)
@click.option(
    "--beta",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="1 is Per-FedAvg.",
)
@click.option("--inner-lr", type=click.FloatRange(min=0), help="α.")
@click.option("--lr", type=click.FloatRange(min=0), help="η, of the clients.")
@click.option(
    "--evaluate-every",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Rounds between two tests; 0: at the end.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="That compute for the clients.",
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=9464, show_default=True, help="HTTP; 0: any free one."
)
@click.option(
    "--state",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Where the state goes; default: a new directory.",
)
@click.option(
    "--set", "overrides", metavar="SECTION.KEY=VALUE", multiple=True, help="Any setting; may be repeated."
)
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def simulate_(*, directory: Path | None, processes: int, output: str, **choices: Any) -> None:
    """Rounds of LocalMOML on this machine, until there are enough or Ctrl-C.

    Killed and started again with the same --state it goes on with the same rounds.
    """
    require_flower()
    directory = directory or Path(tempfile.mkdtemp(prefix="streammeta-"))
    plan = Plan(directory=directory, **choices)
    nodes = Nodes(plan.clients + plan.unseen, processes, plan.client_of())
    report = simulate(plan.config(), plan.federation(), nodes, on_serving=_greet)
    if output == "json":
        say(json.dumps(_as_data(report, directory)))
    else:
        _print(report, directory)


def _greet(address: str) -> None:
    say(f"streammeta makes rounds: open {address}", err=True)


def _as_data(report: Report, directory: Path) -> dict[str, Any]:
    return {
        "state": str(directory),
        "machine": machine(),
        "rounds": report.rounds,
        "rounds_made": report.made,
        "seconds": round(report.seconds, 1),
        "clients": {"answered": report.answered, **report.dropped},
        "bytes": {"sent": report.sent_bytes, "received": report.received_bytes},
        "tested": [
            {"rounds": tested.rounds, **{group: _known(found) for group, found in tested.figures.items()}}
            for tested in report.tested
        ],
    }


def _known(figures: Figures) -> dict[str, float]:
    return {name: value for name, value in figures._asdict().items() if not math.isnan(value)}


def _print(report: Report, directory: Path) -> None:
    seconds = report.seconds / max(report.made, 1)
    say(
        f"{report.rounds:,} rounds, {report.made:,} of them now, {seconds:.2f} s each; "
        f"state kept in {directory}"
    )
    dropped = ", ".join(f"{count:,} {how}" for how, count in report.dropped.items())
    say(f"clients: {report.answered:,} answered{', ' + dropped if dropped else ''}")
    say(f"bytes of parameters: {report.sent_bytes:,} sent, {report.received_bytes:,} received")
    if not report.tested:
        return
    table = Table(
        "rounds", "clients", "loss at w", "personalised", "at memory", "accuracy", box=None, pad_edge=False
    )
    for tested in report.tested:
        for group, found in tested.figures.items():
            losses = (found.meta, found.adapted, found.memory, found.accuracy_adapted)
            table.add_row(f"{tested.rounds:,}", f"{found.clients} {group}", *map(_figure, losses))
    Console(markup=False, highlight=False).print(table)


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
