"""`streammeta run`: the consumer daemon."""

import os
from pathlib import Path

import click
from rich.console import Console

from streammeta.cli.config_options import state_sources
from streammeta.config import Config, load_config
from streammeta.distributed.place import place_of, placed
from streammeta.programs.daemon import Taping, connect_kafka, no_tape, run_daemon
from streammeta.programs.ranks import Ranks


@click.command()
@state_sources
@click.option("--until-end", is_flag=True, help="Stop at the end offsets seen at the start; exit 0.")
@click.option(
    "--record",
    "recording",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep what is learned, in the order learned: `streammeta replay` gives the same bits.",
)
def run(path: Path | None, overrides: tuple[str, ...], until_end: bool, recording: Path | None) -> None:
    """Learn from a topic until told to stop; under `torchrun`, as one rank of several.

    SIGTERM and SIGINT finish the event in hand, checkpoint and exit 0; SIGHUP reads learning rates and log
    level again; SIGUSR1 checkpoints now.

    Example: streammeta run --config learner.toml --record flight
    """
    place = place_of(os.environ)
    if place is not None and recording is not None and place.world > 1:
        raise click.UsageError(
            "--record: a recording holds no averages, so that of one rank tells too little"
        )

    def read() -> Config:
        return placed(load_config(path, overrides), place)

    config, ranks = read(), None if place is None else Ranks.at(place)
    run_daemon(
        config,
        read_config=read,
        connect=connect_kafka if ranks is None else ranks.connect,
        taping=_recorder(recording, config) if recording is not None else no_tape,
        until_end=until_end,
        console=live_console(config) if place is None else None,
        ranks=ranks,
    )


def _recorder(directory: Path, config: Config) -> Taping:
    # Imported here, so that a daemon without it does not carry pyarrow.
    from streammeta.recording.flight import FlightRecorder

    return lambda begun: FlightRecorder(directory, config.kafka.topic, begun)


def live_console(config: Config) -> Console | None:
    """A console for the live view; None where logs go to a file, or to a machine."""
    console = Console(stderr=True)
    return console if console.is_terminal and config.log.format == "console" else None
