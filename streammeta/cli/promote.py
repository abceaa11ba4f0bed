"""`streammeta promote`: a challenger's state becomes the champion's."""

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click

from streammeta.cli.saying import say
from streammeta.config import differences, fit, load_config
from streammeta.errors import StateError
from streammeta.state.directory import StateDirectory
from streammeta.state.promotion import Promoted
from streammeta.state.promotion import promote as put_in_place


class _Named(NamedTuple):
    """A state, by its directory or by the configuration that names it."""

    directory: Path
    file: Path | None


@click.command()
@click.option(
    "--state",
    "champion",
    metavar="DIR|F",
    required=True,
    type=click.Path(path_type=Path),
    help="The champion's state.dir, or its configuration.",
)
@click.option(
    "--shadow",
    "challenger",
    metavar="DIR|F",
    required=True,
    type=click.Path(path_type=Path),
    help="The challenger's state.dir, or its configuration.",
)
def promote(champion: Path, challenger: Path) -> None:
    """Make a challenger's state the champion's. Refused while one of them is written to.

    The challenger's state is verified and copied; the champion's is put aside within its directory, by
    renames: killed in between, the next command or run finishes it. The next run goes on from the
    challenger's positions, each event learned once.

    Example: streammeta promote --state champion.toml --shadow challenger.toml
    """
    place, other = _named("--state", champion), _named("--shadow", challenger)
    if place.directory.resolve() == other.directory.resolve():
        raise StateError(f"--shadow {challenger}: this is the champion's own state; name a challenger's")
    aside = f"demoted-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    with StateDirectory(place.directory) as there, StateDirectory(other.directory) as here:
        done = put_in_place(there, here, aside)
    _tell(done, place, other)


def _named(flag: str, path: Path) -> _Named:
    if path.is_file():
        return _Named(load_config(path).state.dir, path)
    if not path.is_dir():
        raise StateError(f"{flag} {path}: there is neither such a directory nor such a file")
    return _Named(path, None)


def _tell(done: Promoted, place: _Named, other: _Named) -> None:
    events, tasks = done.challenger.checkpoint.progress.events, done.challenger.tasks
    file = shlex.quote(str(other.file)) if other.file else "CHALLENGER.toml"
    where = shlex.quote(str(place.directory))
    offsets = ", ".join(f"{p}: {o}" for p, o in sorted(done.challenger.checkpoint.positions.items()))
    say(
        f"promoted: {where} holds the challenger's state now: {events} events, {tasks} tasks; the former "
        f"champion's ({done.champion.progress.events} events) is in {done.aside}\n"
        f"it goes on at these offsets by partition: {offsets or 'the beginning'}\n"
        f"from now on: streammeta run --config {file} --set state.dir={where}\n"
        f"the way back: streammeta promote --state {where} --shadow {shlex.quote(str(done.aside))}"
    )
    if other.file:
        lines = differences(done.challenger.checkpoint.origin.fit, fit(load_config(other.file)))
        for line in lines:
            say(f"warning: {other.file} does not fit the state any more: {line}", err=True)
