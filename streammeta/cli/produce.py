"""`streammeta produce`: streams of tasks into a topic."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from streammeta.cli.produce_table import table
from streammeta.cli.sending import AT_LEAST_ONE, TARGET, Finite, option, send, with_options
from streammeta.datasets.omniglot import SPLITS, Split, Ways
from streammeta.datasets.omniglot import omniglot as omniglot_events
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.datasets.sinusoid import Sinusoids
from streammeta.datasets.sinusoid import sinusoid as sinusoid_events
from streammeta.events import Array, Episode
from streammeta.sending.messages import Format, messages

Events = Iterator[tuple[str, Episode[Array]]]

NOT_NEGATIVE = Finite(min=0)
ASK = option(
    "--ask",
    type=Finite(min=0, max=1),
    default=0.0,
    metavar="SHARE",
    help="Of the records that ask: without labels, answered on [predict] output_topic.",
)
SEED = option("--seed", type=click.IntRange(min=0), default=0, help="Of all that is drawn at random.")


@click.group()
def produce() -> None:
    """Write a stream of tasks to a topic. Ctrl-C ends it with what was sent."""


@produce.command()
@with_options(
    option("--tasks", type=AT_LEAST_ONE, default=100, help="Sinusoids, drawn uniformly."),
    option("--shots", type=AT_LEAST_ONE, default=10, help="Examples in the support set."),
    option("--query", type=AT_LEAST_ONE, default=10, help="Examples in the query set."),
    option("--noise", type=NOT_NEGATIVE, default=0.0, help="Standard deviation of the noise on y."),
    option(
        "--drift",
        type=NOT_NEGATIVE,
        default=0.0,
        help="Step of amplitude and phase an event, of their range.",
    ),
    ASK,
    SEED,
    *TARGET,
)
def sinusoid(
    tasks: int, shots: int, query: int, noise: float, drift: float, ask: float, seed: int, **target: Any
) -> None:
    """Regression: y = A sin(x + φ), one amplitude and phase a task, optionally drifting.

    Example: streammeta produce sinusoid --tasks 1000 --events 50000 --ask 0.1
    """
    _produce(sinusoid_events(Sinusoids(tasks, shots, query, noise, drift, seed)), ask, seed, **target)


@produce.command()
@with_options(
    option("--data", type=click.Path(path_type=Path), metavar="F", help="An .npz or the zip [downloaded]."),
    option("--split", type=click.Choice(SPLITS), default="background", help="Which alphabets."),
    option("--ways", type=click.IntRange(min=2), default=5, help="Characters of a task."),
    option("--shots", type=AT_LEAST_ONE, default=5, help="Drawings a character in the support set."),
    option("--query", type=AT_LEAST_ONE, default=5, help="Drawings a character in the query set."),
    ASK,
    SEED,
    *TARGET,
)
def omniglot(
    data: Path | None, split: Split, ways: int, shots: int, query: int, ask: float, seed: int, **target: Any
) -> None:
    """Classification: handwritten characters, a task is a group of one alphabet.

    Example: streammeta produce omniglot --ways 5 --shots 5 --rate 20
    """
    _produce(omniglot_events(load_drawings(data, split), Ways(ways, shots, query, seed)), ask, seed, **target)


def _produce(
    events_of_tasks: Events, ask: float, seed: int, *, wire: Format, events: int | None, **target: Any
) -> None:
    draws = random.Random(seed)  # noqa: S311 (which records ask is no secret)
    send(messages(events_of_tasks, wire, asking=lambda: draws.random() < ask), events=events, **target)


produce.add_command(table)
