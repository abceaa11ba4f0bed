"""Closed iterations that wait in the chunk to be applied, and what the state will have counted by then."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from streammeta.episodes.gathering import Repeated, Taken, events_of
from streammeta.errors import BadEvent
from streammeta.events import Positions, Release, TaskEvent
from streammeta.runtime.iteration import Item, Result
from streammeta.state.memories import Memories
from streammeta.state.progress import NOTHING, Tally


@dataclass(slots=True)
class Pending:
    """What waits; empty at first.

    Attributes:
        iterations: The records of each.
        items: The same, placed in the engine's chunk.
        records: How many they are.
        dropped: What expired with them.
        reached: Positions after them.
        tasks: Their tasks, and whether one learns; in the order in which they came.
        fresh: How many of them were not dirty.
        ids: Of their events, where ids are kept.
        unloaded: Those of `tasks` whose rows were not asked for yet.
        results: What came of the records of the iterations that were applied.
        applied: How many these are.
        load_seconds, step_seconds: What it took so far to find the rows, and to learn.
    """

    iterations: list[Sequence[Taken]] = field(default_factory=list)
    items: list[list[Item]] = field(default_factory=list)
    records: int = 0
    dropped: Tally = NOTHING
    reached: dict[int, int] = field(default_factory=dict)
    tasks: dict[str, bool] = field(default_factory=dict)
    fresh: int = 0
    ids: set[bytes] = field(default_factory=set)
    unloaded: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    applied: int = 0
    load_seconds: float = 0.0
    step_seconds: float = 0.0

    def add(
        self,
        taken: Sequence[Taken],
        items: list[Item],
        dropped: Tally,
        positions: Positions,
        memories: Memories,
    ) -> None:
        """Let one more iteration wait; these are the positions after it."""
        self.iterations.append(taken)
        self.items.append(items)
        self.records += len(taken)
        if dropped is not NOTHING:
            self.dropped = self.dropped.plus(dropped)
        self.reached.update(positions)
        for one in taken:
            self._expect(one, memories)

    def give_up(self) -> None:
        """Forget the iterations that were not applied: whoever goes on does so without them."""
        self.records -= sum(map(len, self.iterations[self.applied :]))
        del self.iterations[self.applied :], self.items[self.applied :]

    def _expect(self, taken: Taken, memories: Memories) -> None:
        """Note the task whose row the chunk will ask for."""
        read = taken.read
        if isinstance(read, TaskEvent):  # nearly all are
            task, learns = read.task, True
        elif isinstance(read, BadEvent | Release | Repeated):
            return
        else:
            task, learns = read.task, bool(events_of(read))
        if task not in self.tasks:
            self.tasks[task] = learns
            self.unloaded.append(task)
            self.fresh += not memories.is_dirty(task)
        elif learns:
            self.tasks[task] = True
