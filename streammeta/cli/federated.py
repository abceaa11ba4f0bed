"""`streammeta federated simulate`: LocalMOML over many clients, on Flower's simulation engine."""

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.table import print_table
from streammeta.federated.metrics import Figures
from streammeta.federated.plan import Plan
from streammeta.federated.rounds import Report
from streammeta.federated.simulation import Nodes, require_flower, simulate
from streammeta.observe.machine import machine

Command = Callable[..., None]
_POSITIVE = click.FloatRange(min=0, min_open=True)


def _count(name: str, default: int, text: str, least: int = 1) -> Callable[[Command], Command]:
    return click.option(name, type=click.IntRange(min=least), default=default, show_default=True, help=text)


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
    "--omniglot",
    "drawings",
    metavar="F",
    type=click.Path(path_type=Path),
    help="As for produce omniglot --data.",
)
@_count("--clients", 25, "That take part in rounds.")
@_count("--unseen", 20, "Clients beside them that are tested alone.", least=0)
@click.option(
    "--fraction",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the clients in a round.  [default: 1 across silos, 0.12 across devices]",
)
@click.option("--silo", is_flag=True, help="Cross-silo: clients keep their memory from round to round.")
@click.option("--rounds", type=click.IntRange(min=0), help="Stop after so many in the life of the state.")
@click.option("--duration", "seconds", type=_POSITIVE, help="Stop after S seconds.")
@click.option(
    "--round-seconds", type=_POSITIVE, default=600.0, show_default=True, help="Wait no longer for a client."
)
@_count("--local-steps", 5, "H.")
@_count("--shots", 3, "K, examples of a step; with classes, of each class.")
@click.option(
    "--beta",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.5,
    show_default=True,
    help="1 is Per-FedAvg.",
)
@click.option("--inner-lr", type=click.FloatRange(min=0), help="α.  [default: what suits the data]")
@click.option("--lr", type=_POSITIVE, help="η, of the clients.  [default: what suits the data]")
@_count("--evaluate-every", 0, "Rounds between two tests; 0: at the end alone.", least=0)
@_count("--seed", 0, "Of clients, draws and first parameters.", least=0)
@_count("--processes", 1, "That compute for the clients.")
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
@FORMAT
def simulate_(*, directory: Path | None, processes: int, form: str, **choices: Any) -> None:
    """Rounds of LocalMOML on this machine, until there are enough or Ctrl-C.

    Killed and started again with the same --state it goes on with the same rounds.

    Example: streammeta federated simulate --clients 25 --silo --rounds 100
    """
    require_flower()
    directory = directory or Path(tempfile.mkdtemp(prefix="streammeta-"))
    plan = Plan(directory=directory, **choices)
    nodes = Nodes(plan.clients + plan.unseen, processes, plan.client_of())
    report = simulate(plan.config(), plan.federation(), nodes, on_serving=_greet)
    if form == "json":
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
    headings = ("rounds", "clients", "loss meta", "loss adapted", "loss memory", "accuracy")
    rows = [
        (
            f"{tested.rounds:,}",
            f"{found.clients} {group}",
            *map(_figure, (found.meta, found.adapted, found.memory, found.accuracy_adapted)),
        )
        for tested in report.tested
        for group, found in tested.figures.items()
    ]
    print_table(headings, rows, right=range(2, len(headings)))


def _figure(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.3f}"
