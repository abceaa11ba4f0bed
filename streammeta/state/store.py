"""The protocol of state stores, and the values they keep.

Invariant: `load`, `get` and `stats` show the last whole commit, never a mix of two, whatever crashed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from streammeta.evaluation.drift import BEGUN, Series

Blocks = tuple[tuple[float, int], ...]
"""Sum and count of each block of a windowed mean, older first."""


class TaskStats(NamedTuple):
    """What is known of a task beside its memory. A tuple, because every event makes one.

    Attributes:
        events: Events learned from; 0 before the first.
        last_event: Index of the last one among all events learned, counted from 1.
        last_seen_ms: Its event time, in milliseconds since 1970.
        loss_meta, loss_adapted, loss_memory: Fading means of the prequential losses; NaN while unknown.
        memory_norm: Euclidean norm of the task's parameters at its last visit's checkpoint; 0 without memory.
        accuracy_meta, accuracy_adapted, accuracy_memory: As the losses, of classifiers alone.
        loss_earlier, forgetting: Loss on the task's own earlier query sets, and its rise since; fading means.
        windows: Sums and counts of the losses at w, adapted, at the memory: the last two blocks of visits.
        reset_after: How many of `events` came before the task's memory was last begun anew; 0: it never was.
        drift: Whether its losses got worse, and what is known of them for that.
    """

    events: int = 0
    last_event: int = 0
    last_seen_ms: int = 0
    loss_meta: float = float("nan")
    loss_adapted: float = float("nan")
    loss_memory: float = float("nan")
    memory_norm: float = 0.0
    accuracy_meta: float = float("nan")
    accuracy_adapted: float = float("nan")
    accuracy_memory: float = float("nan")
    windows: tuple[Blocks, ...] = ((), (), ())
    loss_earlier: float = float("nan")
    forgetting: float = float("nan")
    reset_after: int = 0
    drift: Series = BEGUN

    @property
    def remembered(self) -> int:
        """Events that its memory was made of; 0: the next visit is a first one."""
        return self.events - self.reset_after

    @property
    def loss(self) -> float:
        """The task's loss: at its memory where it has one, else after adaptation."""
        return self.loss_adapted if math.isnan(self.loss_memory) else self.loss_memory

    @property
    def loss_window(self) -> float:
        """The windowed mean of that loss; NaN while unknown."""
        _, adapted, memory = self.windows
        blocks = memory or adapted
        count = sum(count for _, count in blocks)
        return sum(total for total, _ in blocks) / count if count else math.nan

    @property
    def accuracy(self) -> float:
        """The task's accuracy, likewise."""
        return self.accuracy_adapted if math.isnan(self.accuracy_memory) else self.accuracy_memory


class Waiting(NamedTuple):
    """What of a task may expire, by the number of the record since which it waits; 0 for nothing.

    Attributes:
        task: Its examples, while the task was never learned from.
        half: Its oldest half of examples.
    """

    task: int = 0
    half: int = 0


class TaskRow(NamedTuple):
    """A task as stored.

    Attributes:
        stats: Its statistics.
        memory: Raw little-endian numbers in the model's dtype; none before the first episode, and
            from a reset to the next visit.
        buffer: The examples that it has gathered (`buffers.pack_buffer`); none when all are learned.
        waiting: What of the buffer may expire; None for nothing.
    """

    stats: TaskStats
    memory: bytes
    buffer: bytes = b""
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Meta:
    """Everything but the tasks: what the next event needs, and what it was made with.

    Attributes:
        tensors: The learner's state and its names, as a safetensors file.
        document: JSON: format version, configuration, counters, next offsets, parameter names and shapes.
        history: What watchers keep of the run; nothing that is learned depends on it.
        ids: The blocks of event ids (`EventIds`) that change with this commit, None to forget one; `load`
            leaves them out.
        united: What the ranks united to last (`pack_state`), where that changes with this commit; `load`
            leaves it out.
    """

    tensors: bytes
    document: bytes
    history: bytes = b""
    ids: Mapping[int, bytes | None] = field(default_factory=dict)
    united: bytes | None = None


class Store(Protocol):
    """One writer, any number of readers."""

    def load(self) -> Meta | None:
        """The committed meta state; None when nothing was ever committed."""

    def get(self, task: str) -> TaskRow | None:
        """One task; None when unknown."""

    def get_many(self, tasks: Sequence[str]) -> Iterable[TaskRow | None]:
        """These tasks, all of one commit."""

    def constants(self) -> bytes:
        """What of the model no event changes (`pack_constants`); nothing before it was ever committed."""

    def ids(self) -> Mapping[int, bytes]:
        """The blocks of event ids, by number."""

    def united(self) -> bytes:
        """What the ranks of a group united to last; nothing where there is no group."""

    def commit(self, meta: Meta, tasks: Mapping[str, TaskRow | None], constants: bytes | None = None) -> int:
        """Replace the meta state and these tasks, durably and all at once; the number of bytes written.

        None forgets a task, and leaves the constants as they are. After a crash, readers see the former
        commit or this one, never a mix.
        """

    def stats(self) -> Iterator[tuple[str, TaskStats]]:
        """All tasks with their statistics, by id in byte order, without reading memories."""

    def waiting(self) -> Iterator[tuple[str, Waiting]]:
        """The tasks of which something may expire, without reading their buffers."""

    def count(self) -> int:
        """How many tasks are stored."""

    def close(self) -> None:
        """Release the files. May be called twice."""
