"""`streammeta run`: the consumer daemon."""

import gc
from pathlib import Path

import click
from rich.console import Console

from streammeta.cli.config_options import state_sources
from streammeta.config import Config, load_config
from streammeta.programs.challengers.champion import WithChallengers
from streammeta.programs.challengers.plan import challengers_of
from streammeta.programs.daemon import Taping, no_tape, run_daemon


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
@click.option(
    "--shadow",
    "shadows",
    metavar="F",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Another configuration that learns from the same records beside this one; may be repeated.",
)
def run(
    path: Path | None,
    overrides: tuple[str, ...],
    until_end: bool,
    recording: Path | None,
    shadows: tuple[Path, ...],
) -> None:
    """Learn from a topic until told to stop.

    SIGTERM and SIGINT finish the event in hand, checkpoint and exit 0; SIGHUP reads learning rates and log
    level again; SIGUSR1 checkpoints now.

    A shadow is a challenger: a process of its own, with the state.dir of its file, that learns what this one
    learns, after it; topic and logs are this one's. Whatever becomes of it, this one goes on. `streammeta
    promote` makes its state this one's.

    Example: streammeta run --config learner.toml --record flight
    """

    def read() -> Config:
        return load_config(path, overrides)

    config = read()
    company = _challengers(config, path, overrides, shadows) if shadows else None
    taping = _recorder(recording, config) if recording is not None else no_tape
    run_daemon(
        config,
        read_config=read,
        taping=company.taping(taping) if company is not None else taping,
        until_end=until_end,
        console=live_console(config),
        # What was made until now, modules nearly all, stays: to search it for garbage takes 0.1 s each time.
        on_serving=lambda _address: gc.freeze(),
        company=company,
    )


def _challengers(
    config: Config, path: Path | None, overrides: tuple[str, ...], shadows: tuple[Path, ...]
) -> WithChallengers:
    return WithChallengers(
        config,
        challengers_of(config, shadows),
        path=path,
        overrides=overrides,
        quiet=live_console(config) is not None,
    )


def _recorder(directory: Path, config: Config) -> Taping:
    # Imported here, so that a daemon without it does not carry pyarrow.
    from streammeta.recording.flight import FlightRecorder

    return lambda begun: FlightRecorder(directory, config.kafka.topic, begun)


def live_console(config: Config) -> Console | None:
    """A console for the live view; None where logs go to a file, or to a machine."""
    console = Console(stderr=True)
    return console if console.is_terminal and config.log.format == "console" else None
