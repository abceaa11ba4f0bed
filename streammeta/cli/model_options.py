"""`--config` and `--trust-model`: whose word for the model of a state counts."""

from pathlib import Path
from typing import NamedTuple

import click

from streammeta.cli.state_options import named_file
from streammeta.config import Config, load_config
from streammeta.config.values import LOSSES
from streammeta.models.networks import BUILT_IN
from streammeta.runtime.blueprint import Blueprint, blueprint_on, config_of
from streammeta.state.checkpoint import Checkpoint

CONFIG = click.option(
    "--config",
    "path",
    metavar="F",
    type=click.Path(path_type=Path),
    is_eager=True,
    callback=named_file,
    help="The model of the state, as this says.",
)
TRUST = click.option(
    "--trust-model", "trust", is_flag=True, help="Run the factory and the loss that the state names."
)


class Asked(NamedTuple):
    """Which state, and whose word for the model."""

    directory: Path
    path: Path | None
    trust: bool


def config_for(asked: Asked, checkpoint: Checkpoint) -> Config:
    """The configuration file; that of the state only if its model is streammeta's own, or trusted.

    Raises:
        click.UsageError: the state names code to run.
        ConfigError, StateError: one of them cannot be read.
    """
    if asked.path is not None:
        return load_config(asked.path)
    model = checkpoint.origin.fit["model"]
    foreign = [
        code for code, known in ((model["factory"], BUILT_IN), (model["loss"], LOSSES)) if code not in known
    ]
    if foreign and not asked.trust:
        raise click.UsageError(
            f"--state {asked.directory} names code to run: {', '.join(map(repr, foreign))}; say whose word "
            "counts: --config F, or --trust-model for that of the state"
        )
    return config_of(checkpoint)


def blueprint_for(asked: Asked, checkpoint: Checkpoint, constants: bytes) -> Blueprint:
    """What the state was learned with.

    Raises:
        click.UsageError: as `config_for`.
        ConfigError, StateError: the model cannot be built, or does not fit.
    """
    return blueprint_on(config_for(asked, checkpoint), checkpoint, constants)
