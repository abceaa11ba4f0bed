"""What a new rank begins with: its tasks' rows, and the meta-state with what it counts and where it reads."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from hashlib import blake2b
from typing import Final

from streammeta.distributed.resharding.counters import blended, parted, renumbered
from streammeta.distributed.resharding.plan import Plan
from streammeta.distributed.resharding.sources import Former
from streammeta.distributed.resharding.unison import Unison
from streammeta.evaluation.drift import BEGUN
from streammeta.events import OrderEntry, Passed
from streammeta.state.checkpoint import Checkpoint, pack
from streammeta.state.event_ids import BLOCK_IDS
from streammeta.state.progress import NOTHING, Progress
from streammeta.state.rows import checked_key, pack_stats
from streammeta.state.standing import Kept, Standing
from streammeta.state.store import Meta, TaskRow

_ID: Final = struct.Struct("<Q16s")  # as `state.event_ids` has it


def rows(origins: Sequence[Former], plan: Plan, new: int) -> Iterator[tuple[str, TaskRow]]:
    """Its tasks, as they go to its store."""
    for old, origin in enumerate(origins):
        counters = plan.counters(origins, old, new)
        for task in plan.tasks[old][new]:
            row = origin.snapshot.get(task)
            if row is not None:
                yield task, counters.row(row)


def print_of(task: str, row: TaskRow) -> int:
    """64 bits of all that a move must not change: everything but the numbers of events and records."""
    stats = row.stats._replace(last_event=0)
    if stats.drift.last_event:
        stats = stats._replace(drift=stats.drift._replace(last_event=0))
    parts = (checked_key(task), row.memory, renumbered(row.buffer, lambda _: 0), pack_stats(stats))
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return int.from_bytes(digest.digest())


def meta(origins: Sequence[Former], plan: Plan, unison: Unison, new: int) -> Meta:
    """Its meta state."""
    if plan.whole:
        origin = origins[new]
        checkpoint, history = replace(origin.checkpoint, state=unison.state), origin.history
        ids: Mapping[int, bytes] = origin.snapshot.ids()
    else:
        checkpoint, ids = _checkpoint(origins, plan, unison, new)
        history = b""
    checkpoint = replace(checkpoint, standing=_standing(checkpoint, plan, unison, new))
    united = Kept().pack() if plan.after.world > 1 else None
    return replace(pack(checkpoint), history=history, ids=ids, united=united)


def pending(origins: Sequence[Former], plan: Plan, new: int) -> list[OrderEntry]:
    """What its order log begins with: of a rank that stays as it is all, else what must be passed."""
    entries = [entry for origin in origins for entry in origin.pending]
    if plan.whole:
        return [*origins[new].pending]
    return [e for e in entries if isinstance(e, Passed) and e.partition % plan.after.world == new]


def _standing(checkpoint: Checkpoint, plan: Plan, unison: Unison, new: int) -> Standing | None:
    if plan.after.world == 1:
        return None
    return Standing(
        new,
        plan.after.world,
        plan.after.partitions,
        closed=unison.round,
        united=unison.round,
        records=checkpoint.tally.records,
        events=checkpoint.progress.events,
    )


def _checkpoint(
    origins: Sequence[Former], plan: Plan, unison: Unison, new: int
) -> tuple[Checkpoint, dict[int, bytes]]:
    found = [origin.checkpoint for origin in origins]
    counters = [plan.counters(origins, old, new) for old in range(len(origins))]
    brought = [row[new] for row in plan.weights]
    most = max(range(len(found)), key=lambda old: (brought[old], -old))
    ids = _ids(origins, plan, new)
    executors = {tuple(each.executors) for each in found}
    checkpoint = Checkpoint(
        origin=found[0].origin,
        state=unison.state,
        progress=Progress(
            sum(row[new] for row in plan.events),
            blended([each.progress.prequential for each in found], brought),
            counters[most].series(found[most].progress.drift) if brought[most] else BEGUN,
        ),
        positions=positions(found, plan, new),
        refused=_refused(found, plan, new),
        topic_id=next((each.topic_id for each in found if each.topic_id), ""),
        tally=reduce(lambda one, two: one.plus(two), (row[new] for row in plan.tallies), NOTHING),
        executors=executors.pop() if len(executors) == 1 else (),
        ids=(0, len(ids)),
        quarantine={
            task: each.quarantine[task]._replace(
                event=counters[old].events.moved(each.quarantine[task].event)
            )
            for old, each in enumerate(found)
            for task in plan.held[old][new]
        },
    )
    return checkpoint, ids


def positions(found: Sequence[Checkpoint], plan: Plan, new: int) -> dict[int, int]:
    """Where it reads on in each of its partitions; one that nobody has read is not named."""
    return {
        partition: offset
        for old, each in enumerate(found)
        for partition, offset in each.positions.items()
        if partition % plan.before.world == old
        and partition % plan.after.world == new
        and partition < plan.after.partitions
    }


def _refused(found: Sequence[Checkpoint], plan: Plan, new: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each, weights in zip(found, plan.weights, strict=True):
        for reason, count in each.refused.items():
            counts[reason] = counts.get(reason, 0) + parted(count, weights)[new]
    return {reason: count for reason, count in counts.items() if count}


def _ids(origins: Sequence[Former], plan: Plan, new: int) -> dict[int, bytes]:
    """All ids that may be sent again in one of its partitions: an id does not tell its task."""
    newest: dict[bytes, int] = {}
    for old, origin in enumerate(origins):
        records = plan.counters(origins, old, new).records
        for block in origin.snapshot.ids().values() if plan.feeds(old, new) else ():
            for number, event in _ID.iter_unpack(block):
                newest[event] = max(newest.get(event, 0), records.moved(number))
    rising = sorted(newest, key=lambda event: (newest[event], event))
    return {
        place: b"".join(_ID.pack(newest[event], event) for event in events)
        for place, events in enumerate(
            rising[begin : begin + BLOCK_IDS] for begin in range(0, len(rising), BLOCK_IDS)
        )
    }
