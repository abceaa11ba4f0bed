"""States of groups on disk: numbered tasks of a small model, and those that worlds have learned."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from streammeta.algorithms.base import to_mean
from streammeta.distributed.place import directory_of, ranks_in
from streammeta.distributed.resharding.comparing import Resharded
from streammeta.distributed.resharding.moving import reshard
from streammeta.state.checkpoint import Checkpoint, pack, unpack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.progress import Progress, Tally
from streammeta.state.standing import Standing
from streammeta.state.store import Meta, TaskRow
from streammeta.stream.kafka.partitions import partition_of
from tests.states import checkpoint_of, row_of
from tests.world import World


class Held(NamedTuple):
    """One rank's state as it was read."""

    checkpoint: Checkpoint
    rows: dict[str, TaskRow]
    ids: dict[int, bytes]
    united: bytes


def move(
    origin: Path, target: Path, world: int, partitions: int | None = None, **options: object
) -> Resharded:
    """`reshard` as the command calls it, for a learner whose states may be averaged."""
    return reshard(
        origin,
        target,
        world,
        partitions=partitions,
        partition_of=partition_of,
        merge_of=lambda _: to_mean,
        **options,  # type: ignore[arg-type]  # `said`
    )


def standing(rank: int, world: int, partitions: int, events: int, **changes: int) -> Standing:
    """At the end of round 3."""
    return Standing(rank, world, partitions, 3, 3, 0, 10 * events, events)._replace(**changes)


def make_group(base: Path, world: int, partitions: int, tasks: Iterable[str], **changes: int) -> Path:
    """A group whose ranks hold these tasks, each where Kafka's partitioner puts its records."""
    mine: list[dict[str, TaskRow]] = [{} for _ in range(world)]
    for number, task in enumerate(sorted(tasks), start=1):
        rank = partition_of(task.encode(), partitions) % world
        mine[rank][task] = row_of(number, events=number, last_event=number)
    for rank, rows in enumerate(mine):
        events = sum(row.stats.events for row in rows.values())
        checkpoint = checkpoint_of(
            progress=Progress(events),
            positions={p: 100 + p for p in range(rank, partitions, world)},
            tally=Tally(10 * events, rank),
            standing=standing(rank, world, partitions, events, **changes) if world > 1 else None,
        )
        write(directory_of(base, rank) if world > 1 else base, checkpoint, rows)
    return base


def write(path: Path, checkpoint: Checkpoint, rows: Mapping[str, TaskRow]) -> None:
    """One rank's directory."""
    with StateDirectory(path) as made, closing(LmdbStore(made.lmdb_path)) as store:
        store.commit(pack(checkpoint), rows)


def read(base: Path) -> list[Held]:
    """The states of all ranks, by number."""
    ranks = ranks_in(base)
    return [_read(path) for path in ([directory_of(base, rank) for rank in ranks] if ranks else [base])]


def _read(path: Path) -> Held:
    with closing(LmdbStore(path / "lmdb", readonly=True)) as store, store.snapshot() as snapshot:
        snapshot.verify()
        meta = snapshot.load()
        assert meta is not None
        rows = {task: row for task, _ in snapshot.stats() if (row := snapshot.get(task))}
        return Held(unpack(meta), rows, snapshot.ids(), snapshot.united())


def memories(base: Path) -> dict[str, bytes]:
    """Every task's memory, of all ranks."""
    return {task: row.memory for held in read(base) for task, row in held.rows.items()}


def put_down(worlds: Sequence[World], base: Path, partitions: int) -> Path:
    """The states of worlds, whose sources know of no partitions, as a group's directory."""
    for rank, world in enumerate(worlds):
        meta = world.store.load()
        assert meta is not None
        path = directory_of(base, rank) if len(worlds) > 1 else base
        with StateDirectory(path) as made, closing(LmdbStore(made.lmdb_path)) as store:
            whole = replace(
                _of(world.checkpoint(), partitions),
                history=meta.history,
                ids=dict(world.store.ids()),
                united=world.store.united(),
            )
            store.commit(whole, world.rows(), world.store.constants())
    return base


def take_up(worlds: Sequence[World], base: Path) -> None:
    """The worlds go on from the states of a group's directory."""
    for world, held in zip(worlds, read(base), strict=True):
        meta = replace(_of(held.checkpoint, 0), ids=dict(held.ids), united=held.united)
        world.store.commit(meta, held.rows)


def _of(checkpoint: Checkpoint, partitions: int) -> Meta:
    known = checkpoint.standing and checkpoint.standing._replace(partitions=partitions)
    return pack(replace(checkpoint, standing=known))
