"""`streammeta checkpoint`: kept copies of a state, and whether a state is sound."""

import json
import shlex
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click

from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.state_options import state_option
from streammeta.distributed import group_copies as together
from streammeta.distributed.homes import homes_in
from streammeta.distributed.place import ranks_in
from streammeta.errors import StateError
from streammeta.state import copies as keeping
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.wording import counted


@click.group()
def checkpoint() -> None:
    """Kept copies of the state: list, make, verify, put back.

    The daemon keeps the newest N, one a minute, with state.keep_checkpoints = N.
    """


@checkpoint.command("list")
@state_option
@FORMAT
def list_copies(directory: Path, form: str) -> None:
    """List the kept copies, newest first, each verified as a whole.

    Example: streammeta checkpoint list --state state
    """
    if ranks_in(directory):
        _list_sets(directory, form)
        return
    rows = [_row(copy) for copy in keeping.copies(_existing(directory))]
    if form == "json":
        say(json.dumps(rows))
        return
    for row in rows:
        words = (
            f"{counted(row['tasks'], 'task')}, {row['bytes']:,} bytes, sound"
            if row["sound"]
            else row["damage"]
        )
        say(f"{counted(row['events'], 'event')}: {words}")
    if not rows:
        say("no copies; `streammeta checkpoint create`, or state.keep_checkpoints = N", err=True)


@checkpoint.command()
@state_option
def create(directory: Path) -> None:
    """Make a copy now, also while a daemon writes, and verify it. Older copies stay.

    Example: streammeta checkpoint create --state state
    """
    if ranks_in(directory):
        made_of_all = together.create(directory)
        for copy in made_of_all.copies:
            say(f"{copy.path}: {copy.events} events")
        say(f"all of round {made_of_all.round}")
        return
    place = _existing(directory)
    with closing(LmdbStore(place.lmdb_path, readonly=True)) as store:
        made = keeping.create(place, store)
    say(f"{made.path}: {made.events} events")


@checkpoint.command()
@state_option
@click.option("--events", type=click.IntRange(min=0), help="That copy; default: the newest sound one.")
def restore(directory: Path, events: int | None) -> None:
    """Put the newest sound copy in the state's place. The former state is moved aside, never deleted.

    Refused while a daemon writes. The next run goes on from the copy's offsets: what came
    later is read from the topic again, and learned once.

    Example: streammeta checkpoint restore --state state
    """
    if ranks_in(directory):
        _restore_set(directory, events)
        return
    with _existing(directory, whole=False) as place:
        done = keeping.restore(place, events)
    for number, damage in done.damaged.items():
        say(f"passed over the copy of {number} events: {damage}", err=True)
    offsets = ", ".join(f"{p}: {o}" for p, o in sorted(done.found.checkpoint.positions.items()))
    say(
        f"restored the copy of {done.copy.events} events, {done.found.tasks} tasks; the former state is in "
        f"{done.aside}\nthe next run goes on at these offsets by partition: {offsets or 'the beginning'}"
    )


@checkpoint.command()
@state_option
@FORMAT
def verify(directory: Path, form: str) -> None:
    """Read every value of the state, also while a daemon writes; exit 65 names what is damaged.

    Example: streammeta checkpoint verify --state state
    """
    if ranks_in(directory):
        _verify_ranks(directory, form)
        return
    place = _existing(directory)
    try:
        found = keeping.verify(place.lmdb_path)
    except StateError as error:
        sound = next((copy for copy in keeping.copies(place) if _row(copy)["sound"]), None)
        raise StateError(f"{error}\n{_way_on(directory, sound)}") from error
    facts = {"events": found.checkpoint.progress.events, "tasks": found.tasks, "values": found.values}
    if form == "json":
        say(json.dumps(facts))
    else:
        say("sound: " + ", ".join(f"{number} {name}" for name, number in facts.items()))


def _list_sets(directory: Path, form: str) -> None:
    """Copies of one round, of all ranks."""
    rows = [
        {
            "round": each.round,
            "events": sum(copy.events for copy in each.copies),
            "tasks": sum(found.tasks for found in each.found),
            "paths": [str(copy.path) for copy in each.copies],
        }
        for each in together.sets(directory)
    ]
    if form == "json":
        say(json.dumps(rows))
        return
    for row in rows:
        say(f"round {row['round']}: {row['events']} events, {row['tasks']} tasks, sound")
    if not rows:
        say("no copies of one round of all ranks; `streammeta checkpoint create`", err=True)


def _restore_set(directory: Path, events: int | None) -> None:
    if events is not None:
        raise click.UsageError(
            "--events: ranks count for themselves; of a group the newest round is restored"
        )
    with ExitStack() as stack:
        for home in homes_in(directory):
            stack.enter_context(StateDirectory(home, whole=False))
        whole, done = together.restore(directory)
    for each in done:
        say(f"restored {each.copy.path}; the former state is in {each.aside}")
    say(f"all ranks go on from round {whole.round}")


def _verify_ranks(directory: Path, form: str) -> None:
    found = [keeping.verify(StateDirectory(home).lmdb_path) for home in homes_in(directory)]
    facts = {
        "ranks": len(found),
        "round": together.round_of([each.checkpoint for each in found]),
        "events": sum(each.checkpoint.progress.events for each in found),
        "tasks": sum(each.tasks for each in found),
        "values": sum(each.values for each in found),
    }
    if form == "json":
        say(json.dumps(facts))
    else:
        say("sound: " + ", ".join(f"{number} {name}" for name, number in facts.items()))


def _way_on(directory: Path, sound: keeping.Copy | None) -> str:
    if sound is None:
        return "no sound copy is kept in this state"
    command = f"streammeta checkpoint restore --state {shlex.quote(str(directory))}"
    return f"the newest sound copy has {sound.events} events: {command}"


def _existing(directory: Path, *, whole: bool = True) -> StateDirectory:
    """The state directory; never made by a command that looks for it."""
    place = StateDirectory(directory, whole=whole)
    if not directory.is_dir():
        raise StateError(f"--state {directory}: there is no such directory; name the state.dir of a daemon")
    return place


def _row(copy: keeping.Copy) -> dict[str, Any]:
    try:
        found = keeping.verify(copy.lmdb_path)
    except StateError as error:
        return {"events": copy.events, "path": str(copy.path), "sound": False, "damage": str(error)}
    return {
        "events": copy.events,
        "path": str(copy.path),
        "sound": True,
        "tasks": found.tasks,
        "bytes": (copy.lmdb_path / "data.mdb").stat().st_size,
        "offsets": {str(p): offset for p, offset in sorted(found.checkpoint.positions.items())},
    }
