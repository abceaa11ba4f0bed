"""`streammeta run`: the consumer daemon."""

from pathlib import Path

import click
from rich.console import Console

from consumers.daemon import run_daemon
from streammeta.cli.config import config_sources
from streammeta.config import Config, load_config


@click.command()
@config_sources
@click.option("--until-end", is_flag=True, help="Stop at the end offsets seen at the start; exit 0.")
def run(path: Path | None, overrides: tuple[str, ...], until_end: bool) -> None:
    """Learn from a topic until told to stop.

    SIGTERM and SIGINT finish the event in hand, checkpoint and exit 0; SIGHUP reads learning rates and log
    level again; SIGUSR1 checkpoints now.
    """

    def read() -> Config:
        return load_config(path, overrides)

    config = read()
    run_daemon(config, read_config=read, until_end=until_end, console=live_console(config))


def live_console(config: Config) -> Console | None:
    """A console for the live view; None where logs go to a file, or to a machine."""
    console = Console(stderr=True)
    return console if console.is_terminal and config.log.format == "console" else None
