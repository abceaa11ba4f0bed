"""`streammeta reproduce NAME`: the papers' experiments again, beside the published figures."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import click

from streammeta.cli.experiment import run_experiment
from streammeta.cli.formats import FORMAT
from streammeta.cli.new_files import PICTURE
from streammeta.reproduce import drift as drift_
from streammeta.reproduce import memory as memory_
from streammeta.reproduce import mnist1d as mnist1d_
from streammeta.reproduce import omniglot as omniglot_
from streammeta.reproduce import quadratic as quadratic_
from streammeta.reproduce import steps as steps_
from streammeta.reproduce.communication import experiment as communication_
from streammeta.reproduce.communication import streams as streams_
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.m4 import experiment as m4_
from streammeta.reproduce.sinewave import experiment as sinewave_
from streammeta.reproduce.sinewave import rounds as federated_
from streammeta.reproduce.sinewave.methods import METHODS

Command = Callable[..., None]


@click.group()
def reproduce() -> None:
    """Run an experiment of the papers again: a table beside the published figures, and a plot."""


def _outputs(command: Command) -> Command:
    """The options that all experiments have."""
    for option in (
        click.option("--plot", type=PICTURE, metavar="F.png", help="Or .svg, .pdf. Default: NAME.png, here."),
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
    run_experiment(experiment, **outputs)


@reproduce.command()
@_shots("1 and 3")
@_positive("--seeds", federated_.SEEDS, "Runs of each method.")
@_positive("--rounds", federated_.ROUNDS, "Of each.")
@_outputs
def federated(shots: tuple[int, ...], seeds: int, rounds: int, **outputs: Any) -> None:
    """LocalMOML against Per-FedAvg over clients, across devices and across silos.

    Example: streammeta reproduce federated --shots 1 --seeds 1
    """
    chosen = shots or federated_.SHOTS
    run_experiment(partial(federated_.federated, shots=chosen, seeds=seeds, rounds=rounds), **outputs)


@reproduce.command()
@click.option("--data", metavar="F", type=click.Path(path_type=Path), help="As for produce omniglot.")
@click.option(
    "--streams",
    multiple=True,
    type=click.Choice([*communication_.EVENTS]),
    help="Repeatable. Default: both.",
)
@click.option("--events", type=click.IntRange(min=1), help="Of a rank. [10,000 and 2,000]")
@_positive("--seeds", communication_.SEEDS, "Of each stream.")
@_positive("--channels", streams_.CHANNELS, "Of the network for Omniglot.")
@_outputs
def communication(
    data: Path | None,
    streams: tuple[str, ...],
    events: int | None,
    seeds: int,
    channels: int,
    **outputs: Any,
) -> None:
    """Ranks that unite every H events: loss after the same events, and bytes sent.

    Example: streammeta reproduce communication --streams sinewave
    """
    experiment = partial(
        communication_.communication,
        data=data,
        streams=streams or (*communication_.EVENTS,),
        events=events,
        seeds=seeds,
        channels=channels,
    )
    run_experiment(experiment, **outputs)


@reproduce.command()
@_positive("--seeds", quadratic_.SEEDS, "Draws of the tasks.")
@_outputs
def quadratic(seeds: int, **outputs: Any) -> None:
    """FO-B-MAML's orders, floors and outer steps, where all is known (arXiv:2409.03682).

    Example: streammeta reproduce quadratic --seeds 3
    """
    run_experiment(partial(quadratic_.quadratic, seeds=seeds), **outputs)


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
    run_experiment(partial(steps_.steps, inner_steps=chosen, seeds=seeds, iterations=iterations), **outputs)


@reproduce.command()
@_positive("--seeds", drift_.SEEDS, "Streams.")
@_outputs
def drift(seeds: int, **outputs: Any) -> None:
    """Tasks that jump: how soon that is noticed, how often wrongly, and what a restarted memory does.

    Example: streammeta reproduce drift --seeds 1
    """
    run_experiment(partial(drift_.drift, seeds=seeds), **outputs)


@reproduce.command()
@_methods(LEARNERS)
@_outputs
def memory(methods: tuple[str, ...], **outputs: Any) -> None:
    """Peak memory of a meta-update against inner steps and channels (arXiv:2412.12030, arXiv:2409.03682).

    Example: streammeta reproduce memory --methods moml
    """
    run_experiment(partial(memory_.memory, methods=methods or (*LEARNERS,)), **outputs)


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
    run_experiment(experiment, **outputs)


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
    run_experiment(experiment, **outputs)


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
    run_experiment(partial(m4_.m4, data=data, wide=wide, methods=chosen, count=count, hours=hours), **outputs)
