"""Where algorithm, memories and data meet: one event in, one updated row and meta-state out.

Invariant: an event changes the meta-state and the arriving task's entry, both or none, and nothing else.
No I/O of its own, no clock, no logging: the memories it asks may read the store.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, State
from streammeta.buffers import Buffer
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Episode, TaskEvent
from streammeta.memories import Entry, Memories
from streammeta.network import Network
from streammeta.prequential import Prequential
from streammeta.store.base import TaskRow, TaskStats
from streammeta.tracing import Steps, refuse_machine_fault

TASK_FADING = 0.9
"""Weight that a task's own fading means keep per visit: about its last 10 visits count."""

NON_FINITE = "the update is not finite and was discarded; lower the learning rates or set outer.clip_norm"


class Losses(NamedTuple):
    """Prequential losses of one event: before it was learned from."""

    meta: float
    adapted: float
    memory: float


class Progress(NamedTuple):
    """How far the stream was learned: part of the state.

    Attributes:
        events: Events learned.
        prequential: Fading means over them.
    """

    events: int = 0
    prequential: Prequential = Prequential()


class Update(NamedTuple):
    """What one event does to its task.

    Attributes:
        task: The task.
        before: Its statistics before the event.
        entry: Its entry after it.
        losses, tracking_error: For watchers.
        progress: How far the stream was learned, this event included.
    """

    task: str
    before: TaskStats
    entry: Entry
    losses: Losses
    tracking_error: float
    progress: Progress


class Step(NamedTuple):
    """What one iteration would change: nothing has changed until `Engine.keep`.

    Attributes:
        state, progress: After it.
        updates: One an event.
        gradient_norm, update_norm: For watchers.
    """

    state: State
    progress: Progress
    updates: list[Update]
    gradient_norm: float
    update_norm: float


class Mark(NamedTuple):
    """Where the engine stood before it learned from one task."""

    state: State
    progress: Progress
    task: str
    entry: Entry


class Engine:
    """The learner at work.

    Attributes:
        network: Model and loss.
        state: Where the learner stands.
        progress: How far it came.
        memories: The tasks.
        inner_lr, meta_lr: The rates in force.
    """

    def __init__(
        self, network: Network, steps: Steps, state: State, progress: Progress, memories: Memories
    ) -> None:
        self.network = network
        self.state = state
        self.progress = progress
        self.memories = memories
        self.inner_lr, self.meta_lr = state.inner_lr.item(), state.meta_lr.item()
        self._steps = steps

    def load(self, events: Sequence[TaskEvent]) -> list[Entry]:
        """The entries of the events' tasks; the tasks must differ."""
        return [self.memories.get(event.task) for event in events]

    def check(self, examples: Batch[Array], counts: Sequence[int]) -> None:
        """Refuse examples, in the model's numbers, of which sets of `counts` could not be learned from.

        Raises:
            BadEvent: their shapes do not suit the model, or it has no such class.
        """
        self._steps.check(self.state, examples, counts)

    def step(self, events: Sequence[TaskEvent], entries: Sequence[Entry]) -> Step:
        """One iteration over events of different tasks, all of the same shape.

        Raises:
            BadEvent: the event cannot be used, or its update would not be finite.
        """
        episode = _stack([self.network.tensors(event.episode) for event in events])
        memory = torch.stack([entry.memory for entry in entries])
        seen = memory.new_tensor([min(entry.stats.events, 1) for entry in entries])
        try:
            state, moved, info, finite = self._steps.step(self.state, memory, seen, episode)
        except (IndexError, ValueError, RuntimeError) as error:
            refuse_machine_fault(error)
            raise BadEvent(Reason.BAD_TENSOR, f"the model refuses the data: {error}", stage="step") from error
        if not finite:
            raise BadEvent(Reason.NON_FINITE_UPDATE, NON_FINITE, stage="step")
        return self._read(events, entries, state, moved, info)

    def _read(
        self, events: Sequence[TaskEvent], entries: Sequence[Entry], state: State, moved: Tensor, info: Info
    ) -> Step:
        """The iteration in Python's numbers, each event counted."""
        progress, updates = self.progress, []
        columns = (info.loss_meta, info.loss_adapted, info.loss_memory, info.tracking_error)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        # Rows of their own: a view would keep the memories of the whole iteration alive.
        memories = [memory.clone() for memory in moved] if len(events) > 1 else [moved[0]]
        for event, entry, memory, (*three, error) in zip(events, entries, memories, rows, strict=True):
            losses = Losses(*three)
            progress = Progress(progress.events + 1, progress.prequential.fold(*losses, error))
            stats = _visited(entry.stats, progress.events, event.time_ms, losses)
            updates.append(
                Update(
                    event.task,
                    entry.stats,
                    entry._replace(stats=stats, memory=memory),
                    losses,
                    error,
                    progress,
                )
            )
        return Step(state, progress, updates, info.gradient_norm.item(), info.update_norm.item())

    def keep(self, step: Step) -> None:
        """Make the step's outcome the state: meta-state, counters and the tasks' entries."""
        self.state, self.progress = step.state, step.progress
        for update in step.updates:
            self.memories.put(update.task, update.entry)

    def hold(self, task: str, buffer: Buffer) -> None:
        """Let the task keep these examples for its next episode."""
        self.memories.put(task, self.memories.get(task)._replace(buffer=buffer))

    def mark(self, task: str) -> Mark:
        """Where the engine stands, for `back`, as long as only this task is learned from."""
        return Mark(self.state, self.progress, task, self.memories.get(task))

    def back(self, mark: Mark) -> None:
        """Undo what was kept since the mark."""
        self.state, self.progress = mark.state, mark.progress
        self.memories.put(mark.task, mark.entry)

    def dirty(self) -> Mapping[str, TaskRow | None]:
        """The rows that the store does not hold yet; `memory_norm` is that of the task's parameters."""
        params_of = self._steps.task_params
        return self.memories.dirty(partial(params_of, self.state)) if params_of else self.memories.dirty()

    def set_rates(self, inner_lr: float, meta_lr: float) -> None:
        """Use these learning rates from the next event on."""
        self.inner_lr, self.meta_lr = inner_lr, meta_lr
        self.state = self.state._replace(
            inner_lr=torch.full_like(self.state.inner_lr, inner_lr),
            meta_lr=torch.full_like(self.state.meta_lr, meta_lr),
        )


def _stack(episodes: Sequence[Episode[Tensor]]) -> Episode[Tensor]:
    if len(episodes) == 1:
        return Episode(*(Batch(batch.x.unsqueeze(0), batch.y.unsqueeze(0)) for batch in episodes[0]))
    return Episode(
        *(
            Batch(torch.stack([batch.x for batch in batches]), torch.stack([batch.y for batch in batches]))
            for batches in zip(*episodes, strict=True)
        )
    )


def _visited(stats: TaskStats, event: int, time_ms: int, losses: Losses) -> TaskStats:
    """The statistics after one more visit. `memory_norm` is brought up to date when the row is written."""
    visits = stats.events
    return replace(
        stats,
        events=visits + 1,
        last_event=event,
        last_seen_ms=time_ms,
        loss_meta=_fade(stats.loss_meta, losses.meta, visits),
        loss_adapted=_fade(stats.loss_adapted, losses.adapted, visits),
        loss_memory=_fade(stats.loss_memory, losses.memory, visits - 1),
    )


def _fade(mean: float, value: float, values_before: int) -> float:
    """The fading mean after one more value, from the number of values before it.

    The weight of n values is N = (1 − λⁿ)/(1 − λ), and the mean moves by (x − mean)/N. A value that is not
    finite (unknown, or overflowed) moves nothing.

    >>> math.isclose(_fade(2.0, 4.0, 1), (4 + TASK_FADING * 2) / (1 + TASK_FADING))
    True
    """
    if not math.isfinite(value):
        return mean
    if values_before <= 0 or math.isnan(mean):
        return value
    weight = (1 - TASK_FADING ** (values_before + 1)) / (1 - TASK_FADING)
    return mean + (value - mean) / weight
