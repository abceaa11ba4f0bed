"""`streammeta tasks` and `streammeta export`: readers of a state, also while the daemon writes it."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from streammeta.cli.formats import FORMAT
from streammeta.cli.saying import say
from streammeta.cli.state_options import state_option
from streammeta.cli.table import print_table
from streammeta.cli.task_changes import COMMANDS
from streammeta.distributed.place import ranks_in
from streammeta.distributed.resharding.as_one import AsOne, read_as_one
from streammeta.errors import StateError, StreammetaError
from streammeta.models.constants import unpack_constants
from streammeta.runtime.blueprint import learner_of
from streammeta.state import export as exporting
from streammeta.state.buffers import unpack_buffer
from streammeta.state.checkpoint import Checkpoint, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.quarantine import release_command
from streammeta.state.snapshot import LmdbSnapshot
from streammeta.state.store import TaskRow, TaskStats
from streammeta.wording import counted

NARROW: Final = ("task", "events", "staleness_events", "loss")
"""The columns of a terminal that has no room for all."""

Row = dict[str, Any]


Snapshot = LmdbSnapshot | AsOne


@contextmanager
def opened(directory: Path) -> Iterator[tuple[Snapshot, Checkpoint]]:
    """One commit of the state, or one of each rank of a group: tasks and meta state belong together.

    Raises:
        StateError: there is no state, or it cannot be read.
    """
    if ranks_in(directory):
        with read_as_one(directory, lambda checkpoint: learner_of(checkpoint).merge) as whole:
            yield whole, whole.checkpoint
        return
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
        "drifts": stats.drift.detections,
        "drift_event": stats.drift.last_event or None,
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
    "drift": lambda row: -(row["drift_event"] or 0),
}
"""Worst, most and stalest first; of drift the last."""


@click.group()
def tasks() -> None:
    """What is known of each task, and how to have it forgotten."""


for command in COMMANDS:
    tasks.add_command(command)


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


@tasks.command("show")
@click.argument("task", metavar="ID")
@state_option
@FORMAT
def show_task(task: str, directory: Path, form: str) -> None:
    """Show one task.

    Example: streammeta tasks show customer-17 --state state
    """
    with opened(directory) as (snapshot, checkpoint):
        found, held = snapshot.get(task), task in checkpoint.quarantine
        if found is None and held:
            found = TaskRow(TaskStats(), b"")
        if found is None:
            raise StreammetaError(
                f"task {task!r} is not known; see: streammeta tasks list --state {directory}"
            )
        row = row_of(task, found.stats, checkpoint)
        row["release"] = release_command(task) if held else None
        row["reset_after"] = found.stats.reset_after or None
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
            [task for task, known in snapshot.stats() if known.remembered]
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
    say(f"{output}: {counted(tensors, 'tensor')} of the model, {counted(len(chosen), 'task')}", err=True)
    if not checkpoint.origin.constants:
        say(f"{output}: {exporting.LEARNED_ALONE}", err=True)


def _memory(snapshot: Snapshot, task: str, directory: Path) -> bytes:
    row = snapshot.get(task)
    if row is None:
        raise StreammetaError(f"--task {task}: not known; see: streammeta tasks list --state {directory}")
    if not row.stats.remembered:
        never = (
            "it was reset, and not" if row.stats.events else "its examples wait for an episode; it was never"
        )
        raise StreammetaError(f"--task {task}: {never} learned from{' since' * bool(row.stats.events)}")
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
