"""The task memories in RAM: a bounded cache over the store, and the rows that the next commit must write.

Invariant: a row that the store does not hold yet (dirty) is never evicted. When all rows are dirty the cache
is `full`, and a checkpoint is due before the next iteration; one of B events may so hold B − 1 rows too many.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.evaluation.forgetting import Samples
from streammeta.state.buffers import Buffer, pack_buffer, unpack_buffer, waiting
from streammeta.state.store import TaskRow, TaskStats, Waiting

Load = Callable[[str], TaskRow | None]
LoadWaiting = Callable[[], Iterable[tuple[str, Waiting]]]


class Entry(NamedTuple):
    """A task in RAM: its statistics, its memory, shape (M,), gathered examples, earlier query sets."""

    stats: TaskStats
    memory: Tensor
    buffer: Buffer = Buffer()
    samples: Samples = ()

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of the task."""
        return not self.stats.events and self.buffer.empty

    @property
    def waiting(self) -> Waiting | None:
        """What of it may expire."""
        return waiting(self.buffer, learned=self.stats.events > 0)


class Memories:
    """Least-recently-used cache of task memories, with write-back at checkpoints.

    Args:
        load: Reads one task from the store.
        empty: The memory of a task never seen, shape (M,): gives size, dtype and device.
        capacity: Tasks kept in RAM, at least 1.
        load_waiting: Reads from the store of which tasks something may expire.
    """

    def __init__(
        self, load: Load, empty: Tensor, capacity: int, load_waiting: LoadWaiting = lambda: ()
    ) -> None:
        self._load = load
        self._load_waiting = load_waiting
        self._empty = Entry(TaskStats(), empty)
        self._capacity = capacity
        self._clean: OrderedDict[str, Entry] = OrderedDict()
        self._dirty: dict[str, Entry] = {}

    def __len__(self) -> int:
        """Tasks in RAM."""
        return len(self._clean) + len(self._dirty)

    def get(self, task: str) -> Entry:
        """The task's entry, from RAM, else from the store, else an empty one. About 3 µs when stored."""
        if task in self._dirty:
            return self._dirty[task]
        entry = self._clean.get(task)
        if entry is None:
            row = self._load(task)
            if row is None:
                return self._empty
            entry = self._clean[task] = Entry(row.stats, self._tensor(row.memory), *unpack_buffer(row.buffer))
            self._shrink()
        else:
            self._clean.move_to_end(task)
        return entry

    def put(self, task: str, entry: Entry) -> None:
        """Replace the task's entry; it is dirty until `cleaned`."""
        self._clean.pop(task, None)
        self._dirty.pop(task, None)  # to the end: the order is that of the last use
        self._dirty[task] = entry
        self._shrink()

    @property
    def full(self) -> bool:
        """Whether only a checkpoint can make room."""
        return len(self._dirty) >= self._capacity

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire."""
        for task, entry in self._dirty.items():
            if entry.waiting is not None:
                yield task, entry.waiting
        yield from ((task, since) for task, since in self._load_waiting() if task not in self._dirty)

    def dirty(
        self, params_of: Callable[[Tensor], Tensor] = lambda memory: memory
    ) -> Mapping[str, TaskRow | None]:
        """The rows that the store does not hold yet, as it keeps them, with the norms of `params_of`.

        None is a task that it shall forget.
        """
        return {task: _row(entry, params_of) for task, entry in self._dirty.items()}

    def cleaned(self) -> None:
        """All dirty rows were committed."""
        self._clean.update((task, entry) for task, entry in self._dirty.items() if not entry.unknown)
        self._dirty.clear()
        self._shrink()

    def _shrink(self) -> None:
        while self._clean and len(self) > self._capacity:
            self._clean.popitem(last=False)

    def _tensor(self, raw: bytes) -> Tensor:
        if not raw:
            return self._empty.memory
        return torch.frombuffer(bytearray(raw), dtype=self._empty.memory.dtype).to(self._empty.memory.device)


def _row(entry: Entry, params_of: Callable[[Tensor], Tensor]) -> TaskRow | None:
    """The entry as stored; its norm is taken here, once a checkpoint, not once an event."""
    if entry.unknown:
        return None
    buffer = pack_buffer(entry.buffer, entry.samples)
    if not entry.stats.events:
        return TaskRow(entry.stats, b"", buffer, entry.waiting)
    norm = torch.linalg.vector_norm(params_of(entry.memory)).item()
    memory = entry.memory.cpu().numpy().tobytes()
    return TaskRow(replace(entry.stats, memory_norm=norm), memory, buffer, entry.waiting)
