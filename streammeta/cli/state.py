"""`streammeta tasks` and `streammeta export`: readers of a state, also while the daemon writes it."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from streammeta.cli.config_options import config_sources
from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.state_options import state_option
from streammeta.cli.table import print_table
from streammeta.codec import CONTROL, RELEASE
from streammeta.config import load_config
from streammeta.errors import StateError, StreammetaError
from streammeta.models.constants import unpack_constants
from streammeta.runtime.blueprint import learner_of
from streammeta.sending.messages import Message
from streammeta.state import export as exporting
from streammeta.state.buffers import unpack_buffer
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.snapshot import LmdbSnapshot
from streammeta.state.store import TaskStats

NARROW: Final = ("task", "events", "staleness_events", "loss")
"""The columns of a terminal that has no room for all."""

Row = dict[str, Any]


@contextmanager
def opened(directory: Path) -> Iterator[tuple[LmdbSnapshot, Checkpoint]]:
    """One commit of the state: the tasks and the meta state in it belong together.

    Raises:
        StateError: there is no state, or it cannot be read.
    """
    store = LmdbStore(StateDirectory(directory).lmdb_path, readonly=True)
    try:
        with store.snapshot() as snapshot:
            meta = snapshot.load()
            if meta is None:
                raise StateError(f"--state {directory}: no checkpoint yet; is it the state.dir of a daemon?")
            yield snapshot, unpack(meta)
    finally:
        store.close()


def row_of(task: str, stats: TaskStats, checkpoint: Checkpoint) -> Row:
    """A task as JSON shows it: unknown numbers are null, so is a `last_seen` that RFC 3339 cannot say."""
    events = checkpoint.progress.events
    numbers = {
        "loss": stats.loss,
        "loss_meta": stats.loss_meta,
        "loss_adapted": stats.loss_adapted,
        "loss_memory": stats.loss_memory,
        "memory_norm": stats.memory_norm,
        "loss_window": stats.loss_window,
        "accuracy": stats.accuracy,
        "forgetting": stats.forgetting,
    }
    return {
        "task": task,
        "events": stats.events,
        "last_seen": _time(stats.last_seen_ms) if stats.events else None,
        "staleness_events": events - stats.last_event if stats.events else None,
        **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        "quarantined": task in checkpoint.quarantine,
    }


def _time(milliseconds: int) -> str | None:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return None


SORTS: Final = {
    "task": lambda row: row["task"],
    "events": lambda row: -row["events"],
    "loss": lambda row: -math.inf if row["loss"] is None else -row["loss"],
    "staleness": lambda row: -math.inf if row["staleness_events"] is None else -row["staleness_events"],
}
"""Worst, most and stalest first."""


@click.group()
def tasks() -> None:
    """What is known of each task."""


@tasks.command("list")
@state_option
@click.option("--sort", type=click.Choice([*SORTS]), default="loss", show_default=True)
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="How many; 0: all.")
@FORMAT
def list_tasks(directory: Path, sort: str, limit: int, form: str) -> None:
    """List tasks, the worst loss first.

    Example: streammeta tasks list --state state --sort staleness
    """
    with opened(directory) as (snapshot, checkpoint):
        known = dict(snapshot.stats())
        unlearned = dict.fromkeys(checkpoint.quarantine.keys() - known.keys(), TaskStats())
        found = (row_of(task, stats, checkpoint) for task, stats in (known | unlearned).items())
        rows = sorted(found, key=SORTS[sort])
    shown = rows[:limit] if limit else rows
    _print(shown, form)
    if form == "table" and len(shown) < len(rows):
        say(f"{len(shown)} of {len(rows)} tasks; --limit 0 shows all", err=True)


@tasks.command("release")
@click.argument("names", metavar="ID...", nargs=-1, required=True)
@config_sources
def release_tasks(names: tuple[str, ...], path: Path | None, overrides: tuple[str, ...]) -> None:
    """Let tasks out of quarantine: learn from their events again.

    Writes a record for each to kafka.topic, so that a release has its place in the stream, in recordings and
    in replays.

    Example: streammeta tasks release customer-17 --config learner.toml
    """
    # Imported here, so that the other verbs do not wait for kafka-python.
    from streammeta.sending.publish import Pace, open_producer, publish

    kafka = load_config(path, overrides).kafka
    releases = [Message(name.encode(), b"{}", [(CONTROL, RELEASE)]) for name in names]
    pace = Pace(None, time.monotonic, lambda _: False)
    done = publish(releases, open_producer(kafka), kafka, pace, time.monotonic)
    say(f"{done.events} releases are in topic {kafka.topic}", err=True)


@tasks.command("show")
@click.argument("task", metavar="ID")
@state_option
@FORMAT
def show_task(task: str, directory: Path, form: str) -> None:
    """Show one task.

    Example: streammeta tasks show customer-17 --state state
    """
    with opened(directory) as (snapshot, checkpoint):
        found = snapshot.get(task)
        if found is None:
            raise StreammetaError(
                f"task {task!r} is not known; see: streammeta tasks list --state {directory}"
            )
        row = row_of(task, found.stats, checkpoint)
        row["examples_waiting"] = unpack_buffer(found.buffer)[0].ready
    if form == "json":
        say(json.dumps(row))
    else:
        for name, value in row.items():
            say(f"{name:17} {_cell(value)}")


@click.command()
@state_option
@click.option(
    "--output", metavar="F.safetensors", required=True, type=click.Path(path_type=Path), help="The file."
)
@click.option("--task", "names", metavar="ID", multiple=True, help="Its memory too; may be repeated.")
@click.option("--all-tasks", is_flag=True, help="All memories.")
def export(directory: Path, output: Path, names: tuple[str, ...], all_tasks: bool) -> None:
    """Write the model at the meta-parameters, and at task memories, as safetensors.

    meta/NAME is the whole state_dict, buffers and frozen parameters too; task/ID/NAME likewise for a task.
    No code of the model is run.

    Example: streammeta export --state state --task customer-17 --output model.safetensors
    """
    with opened(directory) as (snapshot, checkpoint):
        chosen = (
            [task for task, known in snapshot.stats() if known.events]
            if all_tasks
            else list(dict.fromkeys(names))
        )
        for task in names:
            _memory(snapshot, task, directory)  # an unknown one is told before anything is written
        exported = exporting.Exported(
            checkpoint,
            unpack_constants(snapshot.constants(), checkpoint.origin.constants),
            chosen,
            lambda task: _memory(snapshot, task, directory),
            learner_of(checkpoint).task_params if chosen else None,
        )
        tensors = exporting.write(output, exported)
    say(f"{output}: {tensors} tensors of the model, {len(chosen)} tasks", err=True)
    if not checkpoint.origin.constants:
        say(f"{output}: {exporting.LEARNED_ALONE}", err=True)


def _memory(snapshot: LmdbSnapshot, task: str, directory: Path) -> bytes:
    row = snapshot.get(task)
    if row is None:
        raise StreammetaError(f"--task {task}: not known; see: streammeta tasks list --state {directory}")
    if not row.stats.events:
        raise StreammetaError(f"--task {task}: its examples wait for an episode; it was never learned from")
    return row.memory


def _print(rows: list[Row], form: str) -> None:
    if form == "json":
        say(json.dumps(rows))
        return
    names = [*rows[0]] if rows else ["task", "events"]
    print_table(
        names,
        ([_cell(row[name]) for name in names] for row in rows),
        right=[place for place, name in enumerate(names) if name not in ("task", "last_seen")],
        narrow=[names.index(name) for name in NARROW if rows],
    )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
