"""`streammeta run`: the consumer daemon."""

import gc
import os
import sys
from pathlib import Path

import click
from rich.console import Console

from streammeta.cli.config_options import state_sources
from streammeta.config import Config, load_config
from streammeta.distributed.place import Place, place_of, placed
from streammeta.observe.logs import configure_logging
from streammeta.programs.challengers.champion import WithChallengers
from streammeta.programs.challengers.plan import challengers_of
from streammeta.programs.daemon import Taping, connect_kafka, no_tape, run_daemon
from streammeta.programs.ranks import Ranks
from streammeta.programs.watching import end_with, watch
from streammeta.state.directory import StateDirectory


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
@click.option("--watched-by", "parent", metavar="PID", type=int, hidden=True)
def run(
    path: Path | None,
    overrides: tuple[str, ...],
    until_end: bool,
    recording: Path | None,
    shadows: tuple[Path, ...],
    parent: int | None,
) -> None:
    """Learn from a topic until told to stop; under `torchrun`, as one rank of several.

    SIGTERM and SIGINT finish the event in hand, checkpoint and exit 0; SIGHUP reads learning rates and log
    level again; SIGUSR1 checkpoints now.

    A shadow is a challenger: a process of its own, with the state.dir of its file, that learns what this one
    learns, after it; topic and logs are this one's. Whatever becomes of it, this one goes on. `streammeta
    promote` makes its state this one's.

    Example: streammeta run --config learner.toml --record flight
    """
    if parent is not None:
        end_with(parent)
    place = place_of(os.environ)
    _refuse_beside_ranks(place, recording, shadows)

    def read() -> Config:
        return placed(load_config(path, overrides), place)

    config, ranks = read(), None if place is None else Ranks.at(place)
    if place is None and parent is None:
        _watch(config, _again(path, overrides, until_end, recording, shadows))
    company = _challengers(config, path, overrides, shadows) if shadows else None
    taping = _recorder(recording, config) if recording is not None else no_tape
    run_daemon(
        config,
        read_config=read,
        connect=connect_kafka if ranks is None else ranks.connect,
        taping=company.taping(taping) if company is not None else taping,
        until_end=until_end,
        console=live_console(config) if place is None else None,
        # What was made until now, modules nearly all, stays: to search it for garbage takes 0.1 s each time.
        on_serving=lambda _address: gc.freeze(),
        company=company,
        ranks=ranks,
        watched=parent is not None,
    )


def _watch(config: Config, arguments: list[str]) -> None:
    """Before a record is passed that two processes died of, see one more die of it."""
    configure_logging(config.log.level, config.log.format)
    command = [sys.executable, "-P", "-m", "streammeta", *arguments, "--watched-by", str(os.getpid())]
    code = watch(StateDirectory(config.state.dir).trials_path, command)
    if code is not None:
        sys.exit(code)


def _again(
    path: Path | None,
    overrides: tuple[str, ...],
    until_end: bool,
    recording: Path | None,
    shadows: tuple[Path, ...],
) -> list[str]:
    """The words that say the same."""
    return [
        "run",
        *([] if path is None else ["--config", str(path)]),
        *(word for override in overrides for word in ("--set", override)),
        *(["--until-end"] if until_end else []),
        *([] if recording is None else ["--record", str(recording)]),
        *(word for shadow in shadows for word in ("--shadow", str(shadow))),
    ]


def _refuse_beside_ranks(place: Place | None, recording: Path | None, shadows: tuple[Path, ...]) -> None:
    if place is None or place.world == 1:
        return
    if recording is not None:
        raise click.UsageError("--record: a recording holds no means of ranks, so it could not be replayed")
    if shadows:
        raise click.UsageError("--shadow: a challenger would learn from the records of one rank alone")


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
