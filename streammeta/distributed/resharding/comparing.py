"""Whether what was written is what was to be moved: counts, checksums, positions, the meta-state."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from streammeta.distributed.resharding import parts
from streammeta.distributed.resharding.plan import Plan, Size
from streammeta.distributed.resharding.sources import Former
from streammeta.distributed.resharding.unison import Unison
from streammeta.errors import StateError
from streammeta.state.checkpoint import Checkpoint, pack_state, unpack
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.snapshot import LmdbSnapshot

_MODULUS: Final = 1 << 64


class Rank(NamedTuple):
    """What a new rank holds."""

    rank: int
    tasks: int
    events: int
    positions: dict[int, int]


class Resharded(NamedTuple):
    """What was moved, and was found again in what was written.

    Attributes:
        before, after: The sizes.
        unison: What all ranks begin with.
        ranks: The new ones.
        checksum: Of all tasks, over what no move may change.
        by_place: The new rank of a task followed from the old one's place, not from a partitioner.
    """

    before: Size
    after: Size
    unison: Unison
    ranks: list[Rank]
    checksum: int
    by_place: bool


class _Content(NamedTuple):
    """What adds up over ranks."""

    tasks: int
    checksum: int
    quarantined: int
    refused: int
    events: int
    records: int
    expired: int
    unmatched: int
    unlearned: int
    partitions: int
    offsets: int


def compared(origins: Sequence[Former], plan: Plan, unison: Unison, paths: Sequence[Path]) -> Resharded:
    """Read what was written, value by value, and see that it is what was to be moved.

    Raises:
        StateError: it is not.
    """
    was = [
        _content(each.snapshot, each.checkpoint, _still(plan, old, each)) for old, each in enumerate(origins)
    ]
    tensors, found, ranks = pack_state(unison.state), list[_Content](), list[Rank]()
    for rank, path in enumerate(paths):
        with closing(LmdbStore(path / "lmdb", readonly=True)) as store, store.snapshot() as snapshot:
            snapshot.verify()
            meta = snapshot.load()
            if meta is None or meta.tensors != tensors:
                raise StateError(f"{path}: its meta-state is not the one that was written; see to the disk")
            checkpoint = unpack(meta)
            positions = dict(sorted(checkpoint.positions.items()))
            found.append(_content(snapshot, checkpoint, positions))
            ranks.append(Rank(rank, snapshot.count(), checkpoint.progress.events, positions))
    old, new = _summed(was), _summed(found)
    if old != new:
        raise StateError(f"what was written is not what was read ({new}, not {old}); see to the disk")
    return Resharded(plan.before, plan.after, unison, ranks, new.checksum, plan.kept)


def _still(plan: Plan, old: int, origin: Former) -> dict[int, int]:
    """The positions that the old rank hands on."""
    return {
        partition: offset
        for partition, offset in origin.checkpoint.positions.items()
        if plan.whole or (partition % plan.before.world == old and partition < plan.after.partitions)
    }


def _content(snapshot: LmdbSnapshot, checkpoint: Checkpoint, positions: dict[int, int]) -> _Content:
    rows = ((task, snapshot.get(task)) for task, _ in snapshot.stats())
    return _Content(
        snapshot.count(),
        sum(parts.print_of(task, row) for task, row in rows if row),
        len(checkpoint.quarantine),
        sum(checkpoint.refused.values()),
        checkpoint.progress.events,
        *checkpoint.tally,
        len(positions),
        sum((partition + 1) * offset for partition, offset in positions.items()),
    )


def _summed(contents: Sequence[_Content]) -> _Content:
    return _Content(*(sum(column) % _MODULUS for column in zip(*contents, strict=True)))
