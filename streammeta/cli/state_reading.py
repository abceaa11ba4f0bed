"""A state as verbs read it: one commit, its tasks as rows, and its model as a file."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

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


def rows_of(directory: Path) -> list[Row]:
    """All tasks, those in quarantine too that were never learned from."""
    with opened(directory) as (snapshot, checkpoint):
        known = dict(snapshot.stats())
        unlearned = dict.fromkeys(checkpoint.quarantine.keys() - known.keys(), TaskStats())
        return [row_of(task, stats, checkpoint) for task, stats in (known | unlearned).items()]


def one_row(directory: Path, task: str) -> Row:
    """One task, with what `row_of` leaves out.

    Raises:
        StreammetaError: it is not known.
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
    return row


def write_export(directory: Path, output: Path, names: Sequence[str], *, all_tasks: bool) -> list[str]:
    """Write the model at the meta-parameters and at these tasks' memories; what is to be told of it."""
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
    told = [f"{counted(tensors, 'tensor')} of the model, {counted(len(chosen), 'task')}"]
    return told if checkpoint.origin.constants else [*told, exporting.LEARNED_ALONE]


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
