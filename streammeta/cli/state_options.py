"""`--state DIR` of what reads a state: named, or the `state.dir` of `--config F`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from streammeta.config import load_config

Command = TypeVar("Command", bound=Callable[..., Any])

_FILE: Final = "streammeta.config"


def named_file(ctx: click.Context, _param: click.Parameter, path: Path | None) -> Path | None:
    """Keep what `--config` names, for `--state` to look into."""
    ctx.meta[_FILE] = path
    return path


def _directory(ctx: click.Context, _param: click.Parameter, directory: Path | None) -> Path:
    if directory is not None:
        return directory
    path = ctx.meta.get(_FILE)
    if path is None:
        raise click.UsageError("Missing option '--state' (or --config F, whose state.dir is meant).", ctx)
    return load_config(path).state.dir


STATE = click.option(
    "--state",
    "directory",
    metavar="DIR",
    type=click.Path(path_type=Path),
    callback=_directory,
    help="The state directory; default: state.dir of --config.",
)
"""Beside an option whose callback is `named_file`."""

_CONFIG = click.option(
    "--config",
    metavar="F",
    type=click.Path(path_type=Path),
    expose_value=False,
    is_eager=True,
    callback=named_file,
    help="A TOML file that names the state.",
)


def state_option(command: Command) -> Command:
    """Which state, for what needs no configuration else."""
    return STATE(_CONFIG(command))
