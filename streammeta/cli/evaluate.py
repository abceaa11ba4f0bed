"""`streammeta evaluate`: a state's meta-parameters on tasks it has never seen."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

import click

from streammeta.algorithms.base import State
from streammeta.cli.formats import FORMAT
from streammeta.cli.model_options import CONFIG, TRUST, Asked, blueprint_for
from streammeta.cli.saying import say
from streammeta.cli.state_options import STATE
from streammeta.cli.state_reading import opened
from streammeta.cli.table import print_table
from streammeta.config.secret import masked
from streammeta.datasets.omniglot import Split, Ways
from streammeta.datasets.omniglot import omniglot as omniglot_events
from streammeta.datasets.omniglot_data import load_drawings
from streammeta.datasets.sinusoid import Sinusoids
from streammeta.datasets.sinusoid import sinusoid as sinusoid_events
from streammeta.errors import BadEvent, StateError
from streammeta.evaluation import unseen as evaluation
from streammeta.evaluation.unseen import Scores
from streammeta.events import Array, Episode
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.runtime.blueprint import Blueprint
from streammeta.state.checkpoint import Checkpoint

EPISODES = click.option(
    "--episodes", type=click.IntRange(min=2), default=600, show_default=True, help="Unseen tasks."
)
SHOTS = click.option(
    "--shots", type=click.IntRange(min=1), default=5, show_default=True, help="Examples in a support set."
)
QUERY = click.option(
    "--query", type=click.IntRange(min=1), default=5, show_default=True, help="Examples in a query set."
)
SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")


@click.group()
def evaluate() -> None:
    """Score a state's meta-parameters on unseen tasks, before and after one inner adaptation."""


@evaluate.command()
@STATE
@CONFIG
@TRUST
@click.option("--data", metavar="F", type=click.Path(path_type=Path), help="As for produce omniglot.")
@click.option(
    "--split",
    type=click.Choice(get_args(Split)),
    default="evaluation",
    show_default=True,
    help="Which alphabets.",
)
@click.option(
    "--ways", type=click.IntRange(min=2), default=5, show_default=True, help="Characters of a task."
)
@SHOTS
@QUERY
@EPISODES
@SEED
@FORMAT
def omniglot(
    directory: Path,
    path: Path | None,
    trust: bool,
    data: Path | None,
    split: Split,
    ways: int,
    shots: int,
    query: int,
    episodes: int,
    seed: int,
    form: str,
) -> None:
    """N-way K-shot episodes of alphabets that the background stream lacks.

    Example: streammeta evaluate omniglot --state state --shots 1
    """
    stream = omniglot_events(load_drawings(data, split), Ways(ways, shots, query, seed))
    _report(Asked(directory, path, trust), [episode for _, episode in islice(stream, episodes)], form)


@evaluate.command()
@STATE
@CONFIG
@TRUST
@click.option(
    "--tasks", type=click.IntRange(min=1), default=1000, show_default=True, help="Sinusoids to draw from."
)
@SHOTS
@QUERY
@EPISODES
@SEED
@FORMAT
def sinusoid(
    directory: Path,
    path: Path | None,
    trust: bool,
    tasks: int,
    shots: int,
    query: int,
    episodes: int,
    seed: int,
    form: str,
) -> None:
    """Sinusoids; take another --seed than the stream had.

    Example: streammeta evaluate sinusoid --state state --seed 1
    """
    stream = sinusoid_events(Sinusoids(tasks=tasks, shots=shots, query=query, seed=seed))
    _report(Asked(directory, path, trust), [episode for _, episode in islice(stream, episodes)], form)


def _report(asked: Asked, episodes: list[Episode[Array]], form: str) -> None:
    with opened(asked.directory) as (snapshot, checkpoint):
        blueprint = blueprint_for(asked, checkpoint, snapshot.constants())
    try:
        scored = {
            name: evaluation.evaluate(blueprint.network, blueprint.learner, state, episodes)
            for name, state in _starts(blueprint, checkpoint)
        }
    except (BadEvent, IndexError, ValueError, RuntimeError) as error:
        refuse_machine_fault(error)
        raise StateError(_misfit(asked.directory, checkpoint, episodes[0], error)) from error
    if form == "json":
        say(json.dumps({name: _as_data(scores) for name, scores in scored.items()}))
    else:
        _print(scored)


def _misfit(directory: Path, checkpoint: Checkpoint, episode: Episode[Array], error: Exception) -> str:
    model = checkpoint.origin.fit["model"]
    args = ", ".join(f"{key}={value}" for key, value in masked(("model", "args"), model["args"]).items())
    x, y = episode.support
    return (
        f"--state {directory}: its model {model['factory']}({args}) with loss {model['loss']} does not take "
        f"these episodes, whose support set has x {[*x.shape]} and y {[*y.shape]} "
        f"({str(error).splitlines()[0]}); evaluate it on the kind of tasks that it learned from"
    )


def _starts(blueprint: Blueprint, checkpoint: Checkpoint) -> Iterator[tuple[str, State]]:
    yield "random", blueprint.learner.init(blueprint.network.initial)
    yield f"learned, {checkpoint.progress.events:,} events", checkpoint.state


def _as_data(scores: dict[str, Scores]) -> dict[str, dict[str, dict[str, float]]]:
    """Score -> when -> its mean and half width."""
    return {
        name: {when: mean._asdict() for when, mean in score._asdict().items()}
        for name, score in scores.items()
    }


def _print(scored: dict[str, dict[str, Scores]]) -> None:
    print_table(
        ("meta-parameters", "score", "before adaptation", "after"),
        (
            (name, score, *(f"{mean.mean:.3f} ± {mean.half_width:.3f}" for mean in means))
            for name, scores in scored.items()
            for score, means in scores.items()
        ),
    )
