"""The task memories in RAM: a bounded cache over the store, and the rows that the next commit must write.

The memories are the rows of one tensor, so that a step reads and writes them by number ("slot").

Invariant: a row that the store does not hold yet (dirty, or leaving: in a commit under way) is never evicted.
When such rows fill the cache it is `full`, and a commit must end before the next chunk; an iteration of B
events may so hold B − 1 rows too many.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.evaluation.forgetting import Samples
from streammeta.state.buffers import Buffer, unpack_buffer, waiting
from streammeta.state.leaving import Leaving
from streammeta.state.store import TaskRow, TaskStats, Waiting
from streammeta.state.task_table import NEW, TaskTable

Load = Callable[[Sequence[str]], Iterable[TaskRow | None]]
LoadWaiting = Callable[[], Iterable[tuple[str, Waiting]]]

FEWEST_SLOTS = 64
"""Slots at first; they double when there are too few."""

_NO_BUFFER = Buffer()


class Entry(NamedTuple):
    """A task in RAM: its statistics, its memory, shape (M,), gathered examples, earlier query sets."""

    stats: TaskStats
    memory: Tensor
    buffer: Buffer = _NO_BUFFER
    samples: Samples = ()


class Memories:
    """Least-recently-used cache of task memories, with write-back at checkpoints.

    Args:
        load: Reads tasks from the store.
        empty: The memory of a task never seen, shape (M,): gives size, dtype and device.
        capacity: Tasks kept in RAM, at least 1.
        load_waiting: Reads from the store of which tasks something may expire.

    Attributes:
        rows: The memories by slot, shape (slots, M); another tensor when there are more slots.
        visits: Events that the memory was made of by slot, shape (slots,).
        stats: Statistics by slot.
        buffers, samples: What tasks have gathered and kept, by slot, where there is something.
    """

    def __init__(
        self, load: Load, empty: Tensor, capacity: int, load_waiting: LoadWaiting = lambda: ()
    ) -> None:
        self._load = load
        self._load_waiting = load_waiting
        self._empty = empty
        self._capacity = capacity
        self._clean: dict[str, int] = {}
        self._dirty: dict[str, int] = {}
        self._leaving: dict[str, int] = {}
        self._free: list[int] = []
        self.rows = empty.new_zeros(0, len(empty))
        self._copy = self.rows
        self.visits = torch.zeros(0, dtype=torch.int64, device=empty.device)
        self.stats = TaskTable()
        self.buffers: dict[int, Buffer] = {}
        self.samples: dict[int, Samples] = {}

    def __len__(self) -> int:
        """Tasks in RAM."""
        return len(self._clean) + len(self._dirty) + len(self._leaving)

    @property
    def room(self) -> int:
        """How many more tasks may become dirty before a commit must end."""
        return self._capacity - len(self._dirty) - len(self._leaving)

    @property
    def full(self) -> bool:
        """Whether only a commit can make room."""
        return self.room <= 0

    def is_dirty(self, task: str) -> bool:
        """Whether writing to the task's row takes no room."""
        return task in self._dirty or task in self._leaving

    def get(self, task: str) -> Entry:
        """The task's entry, from RAM, else from the store, else an empty one. The memory is a copy."""
        slot = self._find(task)
        if slot is None:
            (row,) = self._load([task])
            if row is None:
                return Entry(NEW, self._empty)
            slot = self._clean[task] = self._slot(row)
        entry = Entry(
            self.stats[slot],
            self.rows[slot].clone(),
            self.buffers.get(slot, _NO_BUFFER),
            self.samples.get(slot, ()),
        )
        self._shrink()
        return entry

    def put(self, task: str, entry: Entry) -> None:
        """Replace the task's entry; it is dirty until `cleaned`."""
        slot = self.touch(task)
        self._fill(slot, *entry)
        self._shrink()

    def hold(self, task: str, buffer: Buffer) -> None:
        """Let the task, which `slots` has found, keep these examples for its next episode."""
        self._hold(self.touch(task), buffer)

    def forget(self, task: str) -> bool:
        """Let the task, which `slots` has found, be as one never seen; whether anything was known of it."""
        slot = self._find(task)
        if slot is None or self._unknown(slot):
            return False
        self._fill(self.touch(task), NEW, self._empty)
        return True

    def reset(self, task: str) -> bool:
        """Let the next visit of the task, which `slots` has found, be a first one; whether it was not yet.

        Statistics and gathered examples stay; earlier query sets, and losses watched for drift, do not.
        """
        slot = self._find(task)
        if slot is None or not self.stats.remembered(slot):
            return False
        self.begin_anew(self.touch(task))
        if slot in self.stats.drift:
            self.stats.drift[slot] = self.stats.drift[slot].begun_anew()
        return True

    def begin_anew(self, slot: int) -> None:
        """The same of a slot, also within a chunk, whose visits its statistics do not count yet."""
        self.stats.begin_anew(slot, int(self.visits[slot]))
        self.rows[slot] = self._empty
        self.visits[slot] = 0
        self.samples.pop(slot, None)

    def slots(self, tasks: Collection[str], kept: Collection[str] = ()) -> dict[str, int]:
        """Where the tasks' rows are; those of new tasks are empty. They, and `kept`, stay until `settle`."""
        found: dict[str, int] = {}
        missing: dict[str, None] = {}
        for task in tasks:
            slot = self._find(task)
            if slot is None:
                missing[task] = None
            else:
                found[task] = slot
        for task, row in zip(missing, self._load([*missing]) if missing else (), strict=True):
            found[task] = self._clean[task] = self._slot(row)
        self._shrink(found, kept)
        return found

    def slot_of(self, task: str) -> int | None:
        """Where the row of a task in RAM is; to look for it is no use of it."""
        held = (self._dirty, self._clean, self._leaving)
        return next((slots[task] for slots in held if task in slots), None)

    def touch(self, task: str) -> int:
        """Make the task dirty; its slot, a new one where it had none."""
        slot = self._dirty.pop(task, None)  # to the end: the order is that of the last use
        if slot is None:
            slot = self._clean.pop(task, None)
        if slot is None:
            slot = self._leaving.pop(task, None)
        if slot is None:
            slot = self._slot(None)
        self._dirty[task] = slot
        return slot

    def settle(self, tasks: Iterable[str]) -> None:
        """The chunk that had asked for these tasks is over: of those that stayed unknown nothing is kept."""
        for task in tasks:
            slot = self._clean.get(task)
            if slot is not None and self._unknown(slot):
                self._vacate(self._clean.pop(task))
        self._shrink()

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire."""
        unsaved = self._dirty | self._leaving
        for task, slot in unsaved.items():
            since = waiting(self.buffers.get(slot, _NO_BUFFER), learned=self.stats.events(slot) > 0)
            if since is not None:
                yield task, since
        yield from ((task, since) for task, since in self._load_waiting() if task not in unsaved)

    def dirty(self) -> Leaving:
        """A copy of the rows that the store does not hold and no commit under way brings it.

        It lies where the last copy lay: fresh memory takes longer to be had than to be filled.
        """
        slots, drift = [*self._dirty.values()], self.stats.drift
        if len(slots) > len(self._copy):
            self._copy = self.rows.new_empty(min(2 * len(slots), len(self.rows)), self.rows.shape[1])
        index = torch.tensor(slots, dtype=torch.int64, device=self.rows.device)
        return Leaving(
            [*self._dirty],
            torch.index_select(self.rows, 0, index, out=self._copy[: len(slots)]),
            self.stats.words[slots],
            self.stats.reset_after[slots],
            {place: drift[slot] for place, slot in enumerate(slots) if slot in drift} if drift else {},
            [(self.buffers.get(slot, _NO_BUFFER), self.samples.get(slot, ())) for slot in slots]
            if self.buffers or self.samples
            else [],
        )

    def leave(self) -> None:
        """A commit of what `dirty` gave has begun; `cleaned` must be called before the next one begins."""
        self._leaving, self._dirty = self._dirty, {}

    def cleaned(self) -> None:
        """What left is committed; what became dirty again since then is still dirty."""
        for task, slot in self._leaving.items():
            if self._unknown(slot):
                self._vacate(slot)
            else:
                self._clean[task] = slot
        self._leaving.clear()
        self._shrink()

    def _unknown(self, slot: int) -> bool:
        """Whether nothing is kept of the task there."""
        return slot not in self.buffers and not self.stats.events(slot)

    def _find(self, task: str) -> int | None:
        """The task's slot; being looked for counts as use."""
        slot = self._dirty.get(task)
        if slot is None:
            slot = self._clean.pop(task, None)
            if slot is None:
                return self._leaving.get(task)
            self._clean[task] = slot
        return slot

    def _shrink(self, *kept: Collection[str]) -> None:
        """Evict clean rows, none of those `kept`, which were used last."""
        surplus = len(self) - self._capacity
        while surplus > 0 and self._clean:
            task = next(iter(self._clean))
            if any(task in tasks for tasks in kept):
                return
            self._vacate(self._clean.pop(task))
            surplus -= 1

    def _slot(self, row: TaskRow | None) -> int:
        """A slot with this content."""
        if not self._free:
            self._grow()
        slot = self._free.pop()
        if row is None:
            self._fill(slot, NEW, self._empty)
        else:
            self._fill(slot, row.stats, self._tensor(row.memory), *unpack_buffer(row.buffer))
        return slot

    def _fill(
        self, slot: int, stats: TaskStats, memory: Tensor, buffer: Buffer = _NO_BUFFER, samples: Samples = ()
    ) -> None:
        self.stats[slot] = stats
        self.rows[slot] = memory
        self.visits[slot] = stats.remembered
        self._hold(slot, buffer)
        if samples:
            self.samples[slot] = samples
        else:
            self.samples.pop(slot, None)

    def _hold(self, slot: int, buffer: Buffer) -> None:
        if buffer.empty:
            self.buffers.pop(slot, None)
        else:
            self.buffers[slot] = buffer

    def _vacate(self, slot: int) -> None:
        self.buffers.pop(slot, None)
        self.samples.pop(slot, None)
        self._free.append(slot)

    def _grow(self) -> None:
        """Twice as many slots. Memory is taken as tasks come, not for the whole capacity at once."""
        before = len(self.stats)
        more = max(FEWEST_SLOTS, min(before, self._capacity + FEWEST_SLOTS - before))
        self.rows = torch.cat((self.rows, self.rows.new_zeros(more, self.rows.shape[1])))
        self.visits = torch.cat((self.visits, self.visits.new_zeros(more)))
        self.stats.grow(more)
        self._free += range(before + more - 1, before - 1, -1)

    def _tensor(self, raw: bytes) -> Tensor:
        if not raw:
            return self._empty
        return torch.frombuffer(bytearray(raw), dtype=self._empty.dtype)
