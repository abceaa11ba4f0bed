"""Which task goes to which rank, and how much of each counter goes along."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streammeta.distributed.resharding.counters import Counter, Counters, parted
from streammeta.distributed.resharding.sources import Former
from streammeta.errors import StateError
from streammeta.state.progress import Tally
from streammeta.state.rows import checked_key

PartitionOf = Callable[[bytes, int], int]
"""(key, partitions) -> the partition to which producers write records of this key."""

_OTHER: Final = (
    "records were written by another partitioner than Kafka's own (murmur2 of the key, which is the task's "
    "id), so nobody can tell where its next ones will be; what can be done without: a --world that divides "
    "the old one, at the same number of partitions"
)


class Size(NamedTuple):
    """How many ranks share how many partitions; `partitions`: 0 while unknown."""

    world: int
    partitions: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes from each old rank to each new one.

    Attributes:
        before, after: The sizes.
        kept: The old rank's place alone says the new one, whatever partitioner was used.
        tasks: By old rank, then by new one.
        held: The tasks in quarantine, likewise.
        events, tallies, refused: What each new rank counts of what each old one did, likewise.
    """

    before: Size
    after: Size
    kept: bool
    tasks: Sequence[Sequence[Sequence[str]]]
    held: Sequence[Sequence[Sequence[str]]]
    weights: Sequence[Sequence[int]]
    events: Sequence[Sequence[int]]
    tallies: Sequence[Sequence[Tally]]

    @property
    def whole(self) -> bool:
        """Each old rank is a new one as it is."""
        return self.kept and self.before.world == self.after.world

    def counters(self, origins: Sequence[Former], old: int, new: int) -> Counters:
        """Of what goes from the old rank to the new one."""
        was = origins[old].checkpoint
        return Counters(
            Counter(was.progress.events, sum(row[new] for row in self.events)),
            Counter(was.tally.records, sum(row[new].records for row in self.tallies)),
        )

    def feeds(self, old: int, new: int) -> bool:
        """Whether anything of the old rank may go to the new one."""
        return not self.kept or old % self.after.world == new


def sizes(origins: Sequence[Former], world: int, partitions: int | None) -> tuple[Size, Size]:
    """The old and the new size; partitions that nobody names are those of the state.

    Raises:
        StateError: nobody knows them, or ranks would have none.
    """
    known = {origin.checkpoint.standing.partitions for origin in origins if origin.checkpoint.standing} - {0}
    if len(known) > 1:
        raise StateError(f"the states of the ranks do not belong together: of {sorted(known)} partitions")
    read = {partition for origin in origins for partition in origin.checkpoint.positions}
    found = known.pop() if known else len(read) if read == {*range(len(read))} else 0
    after = partitions or found
    if len(origins) > 1 and not found:
        raise StateError("the states of the ranks do not tell how many partitions their topic has")
    if world == 1:
        return Size(len(origins), found), Size(world, after)
    if not after:
        raise StateError("the state does not tell how many partitions its topic has; say --partitions P")
    if after < world:
        raise StateError(
            f"--world {world}: {after} partitions cannot be shared by them; take at most {after}"
        )
    return Size(len(origins), found), Size(world, after)


def planned(origins: Sequence[Former], before: Size, after: Size, partition_of: PartitionOf) -> Plan:
    """Find the new rank of every task, and part the counters as the tasks' events are.

    Raises:
        StateError: a task is not where Kafka's own partitioner puts it, though its new rank hangs on that; or
            one is with two ranks.
    """
    kept = before.partitions == after.partitions and before.world % after.world == 0
    kept = kept or (before.world == after.world == 1)

    def new_rank(task: str, old: int) -> int:
        if kept:
            return old % after.world
        key = checked_key(task)
        if before.world > 1 and partition_of(key, before.partitions) % before.world != old:
            raise StateError(f"task {task!r} is with rank {old}, where its records are not: {_OTHER}")
        return partition_of(key, after.partitions) % after.world

    tasks, held, weights = [], [], []
    for old, origin in enumerate(origins):
        mine: list[list[str]] = [[] for _ in range(after.world)]
        weight = [0] * after.world
        for task, stats in origin.snapshot.stats():
            new = new_rank(task, old)
            mine[new].append(task)
            weight[new] += stats.events
        kept_back: list[list[str]] = [[] for _ in range(after.world)]
        for task in origin.checkpoint.quarantine:
            kept_back[new_rank(task, old)].append(task)
        if kept and not any(weight):
            weight[old % after.world] = 1
        tasks.append(mine)
        held.append(kept_back)
        weights.append(weight)
    _check_apart(tasks)
    return Plan(
        before,
        after,
        kept,
        tasks,
        held,
        weights,
        [parted(o.checkpoint.progress.events, w) for o, w in zip(origins, weights, strict=True)],
        [_tallies(o.checkpoint.tally, w) for o, w in zip(origins, weights, strict=True)],
    )


def gathered(origins: Sequence[Former], before: Size) -> Plan:
    """All to one rank, without a look at the tasks: for readers, who look for themselves."""
    events = [origin.checkpoint.progress.events for origin in origins]
    return Plan(
        before,
        Size(1, before.partitions),
        kept=True,
        tasks=[[[]] for _ in origins],
        held=[[[*origin.checkpoint.quarantine]] for origin in origins],
        weights=[[number] for number in events],
        events=[[number] for number in events],
        tallies=[[origin.checkpoint.tally] for origin in origins],
    )


def _tallies(tally: Tally, weights: Sequence[int]) -> list[Tally]:
    return [Tally(*part) for part in zip(*(parted(count, weights) for count in tally), strict=True)]


def _check_apart(tasks: Sequence[Sequence[Sequence[str]]]) -> None:
    for new in zip(*tasks, strict=True):
        seen: set[str] = set()
        for names in new:
            if both := seen.intersection(names):
                raise StateError(
                    f"task {min(both)!r} is with two ranks, each with a memory of it: its records came in "
                    "partitions of both; have the one that is worse forgotten (streammeta tasks forget), run "
                    "the group until it is, then reshard"
                )
            seen.update(names)
