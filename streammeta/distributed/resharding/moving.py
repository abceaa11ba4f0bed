"""A group's state directory written anew for another number of ranks.

    TO.resharding/lock        one writer
    TO.resharding/state/      what becomes TO when it is whole, compared and on the disk

Invariant: TO appears by one rename, whole. Whatever dies before leaves TO as it was, and the next try begins
anew. Nothing is written where the old states are.
"""

import shutil
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from streammeta.algorithms.base import Merge
from streammeta.distributed.place import directory_of
from streammeta.distributed.resharding import parts
from streammeta.distributed.resharding.comparing import Resharded, compared
from streammeta.distributed.resharding.plan import PartitionOf, Plan, planned, sizes
from streammeta.distributed.resharding.sources import Former, opened
from streammeta.distributed.resharding.unison import Unison, check_can_part, united
from streammeta.errors import StateError
from streammeta.state.checkpoint import Checkpoint
from streammeta.state.directory import StateDirectory, locked, unlock
from streammeta.state.environment import failed
from streammeta.state.exchange import sync
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.order_log import OrderLog
from streammeta.state.store import TaskRow

TOGETHER_BYTES: Final = 1 << 24
"""Memories and buffers of one commit: so much memory is needed, however many tasks there are."""

Said = Callable[[str], None]


def reshard(
    origin: Path,
    target: Path,
    world: int,
    *,
    partitions: int | None = None,
    partition_of: PartitionOf,
    merge_of: Callable[[Checkpoint], Merge | str],
    said: Said = lambda _: None,
) -> Resharded:
    """Write the states of `origin` for so many ranks into `target`.

    Args:
        origin: A group's directory, or that of a single state.
        target: A directory that is empty, or does not exist.
        world: How many ranks there shall be; 1 makes a single state.
        partitions: Of the topic, as it is now; None for as many as the state knows.
        partition_of: How producers choose a record's partition.
        merge_of: How states of the algorithm unite.
        said: Told of each step that is done.

    Raises:
        StateLocked: a process writes to `origin`, or another one to `target`.
        StateError: the states do not belong together, cannot be moved, or the disk refuses; `target` is as it
            was.
    """
    _check_empty(target)
    if target.resolve().is_relative_to(origin.resolve()):
        raise StateError(
            f"--to {target}: it lies in --from {origin}, which stays as it is; name another place"
        )
    unfinished = target.with_name(f"{target.name}.resharding")
    try:
        with opened(origin) as origins:
            merge = merge_of(origins[0].checkpoint)
            check_can_part(merge, world)
            before, after = sizes(origins, world, partitions)
            plan, unison = planned(origins, before, after, partition_of), united(origins, merge)
            said("read")
            return _written(origins, plan, unison, unfinished, target, said)
    except OSError as error:
        raise failed(target, error) from error


def _check_empty(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise StateError(f"--to {target}: it is not empty; name a directory that is, or does not exist")


def _written(
    origins: Sequence[Former], plan: Plan, unison: Unison, unfinished: Path, target: Path, said: Said
) -> Resharded:
    unfinished.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = locked(unfinished / "lock", "--to")
    try:
        new = unfinished / "state"
        shutil.rmtree(new, ignore_errors=True)
        paths = [directory_of(new, rank) if plan.after.world > 1 else new for rank in range(plan.after.world)]
        for rank, path in enumerate(paths):
            _write(origins, plan, unison, rank, path, said)
        done = compared(origins, plan, unison, paths)
        sync(new)
        said("compared")
        _check_empty(target)
        new.rename(target)
        sync(target.parent)
        said("renamed")
        shutil.rmtree(unfinished, ignore_errors=True)
    finally:
        with suppress(OSError):  # it is gone with its directory
            unlock(lock)
    return done


def _write(origins: Sequence[Former], plan: Plan, unison: Unison, rank: int, path: Path, said: Said) -> None:
    """One new rank's directory, commit by commit."""
    meta = parts.meta(origins, plan, unison, rank)
    constants: bytes | None = origins[0].snapshot.constants() or None
    with StateDirectory(path) as directory:
        with closing(LmdbStore(directory.lmdb_path)) as store:
            some, some_bytes = dict[str, TaskRow | None](), 0
            for task, row in parts.rows(origins, plan, rank):
                some[task] = row
                some_bytes += len(row.memory) + len(row.buffer)
                if some_bytes >= TOGETHER_BYTES:
                    store.commit(meta, some, constants)
                    said(f"rank {rank}: {len(some)} tasks")
                    some, some_bytes = {}, 0
            store.commit(meta, some, constants)
            said(f"rank {rank}: {len(some)} tasks")
        with closing(OrderLog(directory.order_log_path)) as log:
            log.append(parts.pending(origins, plan, rank))
            log.sync()
        sync(directory.order_log_path)
    sync(path)
    said(f"rank {rank}")
