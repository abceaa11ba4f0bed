"""Where algorithm, memories and data meet: one event in, one updated row and meta-state out.

Invariant: an event changes the meta-state and the arriving task's entry, both or none, and nothing else.
No I/O of its own, no clock, no logging: the memories it asks may read the store.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.algorithms.discarded import why_discarded
from streammeta.errors import BadEvent, CodeFault, ConfigError, Reason
from streammeta.evaluation.forgetting import Recalled, Sample, Samples, kept
from streammeta.evaluation.prequential import NOT_RECALLED, UNKNOWN, Prequential, Scores, Windowed
from streammeta.events import Array, Batch, Episode, TaskEvent
from streammeta.learner.graphs import refuse_machine_fault
from streammeta.learner.tracing import Stepped, Steps
from streammeta.models.faults import told
from streammeta.models.losses import accuracy as accuracy_of
from streammeta.models.network import Network
from streammeta.state.buffers import Buffer
from streammeta.state.memories import Entry, Memories
from streammeta.state.store import TaskRow, TaskStats

TASK_FADING = 0.9
"""Weight that a task's own fading means keep per visit: about its last 10 visits count."""

TASK_BLOCK = 10
"""Visits in a block of a task's own windows: they span its last 10 to 20."""


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
        losses, accuracy, tracking_error: For watchers; accuracy of classifiers alone.
        progress: How far the stream was learned, this event included.
        predictions: Of its query set before it was learned from (3, examples, …): at w, after one adaptation,
            at the task's memory; None unless asked for.
    """

    task: str
    before: TaskStats
    entry: Entry
    losses: Scores
    accuracy: Scores
    tracking_error: float
    progress: Progress
    predictions: Tensor | None


class Step(NamedTuple):
    """What one iteration would change: nothing has changed until `Engine.keep`.

    Attributes:
        state, progress: After it.
        updates: One an event.
        meta_lr: The rate of its meta-update, after a schedule.
        gradient_norm, update_norm: For watchers.
    """

    state: State
    progress: Progress
    updates: list[Update]
    meta_lr: float
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
        inner_lr, meta_lr: The rates that are set.
    """

    def __init__(
        self,
        network: Network,
        steps: Steps,
        state: State,
        progress: Progress,
        memories: Memories,
        *,
        forgetting_sets: int = 0,
    ) -> None:
        """`forgetting_sets`: earlier query sets kept per task, one judged again at each visit; 0: none."""
        self._forgetting_sets = forgetting_sets
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
        with self._judged():
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
            with self._judged():
                stepped = self._steps.step(self.state, memory, seen, episode)
        except (AssertionError, ArithmeticError, LookupError, ValueError, RuntimeError) as error:
            refuse_machine_fault(error)
            message = f"the model refuses the data: {told(error)}"
            raise BadEvent(Reason.BAD_TENSOR, message, stage="step") from error
        if not stepped.finite:
            raise BadEvent(Reason.NON_FINITE_UPDATE, why_discarded(stepped.info), stage="step")
        return self._read(events, entries, stepped, episode)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """A fault of the code is the configuration's as long as no event was learned, else the record's."""
        try:
            yield
        except CodeFault as fault:
            if self.progress.events:
                raise
            raise ConfigError(f"model.factory, model.loss: {fault}") from fault.__cause__

    def _read(
        self,
        events: Sequence[TaskEvent],
        entries: Sequence[Entry],
        stepped: Stepped,
        episode: Episode[Tensor],
    ) -> Step:
        """The iteration in Python's numbers, each event counted."""
        progress, updates, info, moved = self.progress, list[Update](), stepped.info, stepped.memory
        predictions = [None] * len(events) if stepped.predictions is None else stepped.predictions.unbind()
        columns = (info.loss_meta, info.loss_adapted, info.loss_memory, info.tracking_error)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        # Rows of their own: a view would keep the memories of the whole iteration alive.
        memories = [memory.clone() for memory in moved] if len(events) > 1 else [moved[0]]
        sets = zip(*(tensors.unbind() for batch in episode for tensors in batch), strict=True)
        for event, entry, memory, (*three, error), predicted, (sx, sy, x, y) in zip(
            events, entries, memories, rows, predictions, sets, strict=True
        ):
            losses, accuracy = Scores(*three), self._accuracy(predicted, y)
            recalled, samples = NOT_RECALLED, entry.samples
            if self._forgetting_sets:
                one = Episode(Batch(sx, sy), Batch(x, y))
                recalled, samples = self._recall(event.task, entry, one, stepped.state, memory)
            means = progress.prequential.fold(*losses, error, accuracy, recalled)
            progress = Progress(progress.events + 1, means)
            stats = _visited(entry.stats, progress.events, event.time_ms, losses, accuracy, recalled)
            after = Entry(stats, memory, entry.buffer, samples)
            updates.append(
                Update(event.task, entry.stats, after, losses, accuracy, error, progress, predicted)
            )
        meta_lr = self._steps.meta_rate(self.state)
        norms = info.gradient_norm.item(), info.update_norm.item()
        return Step(stepped.state, progress, updates, meta_lr, *norms)

    def _recall(
        self, task: str, entry: Entry, episode: Episode[Tensor], state: State, memory: Tensor
    ) -> tuple[Recalled, Samples]:
        """One earlier query set judged at the task's parameters before the event; and the sample after it."""
        visit, samples, recalled = entry.stats.events + 1, entry.samples, NOT_RECALLED
        if samples:
            earlier = samples[visit % len(samples)]
            before = self._steps.own_params(self.state, entry.memory, episode.support)
            loss = self._loss(before, Batch(*(torch.from_numpy(array.copy()) for array in earlier.query)))
            recalled = Recalled(loss, loss - earlier.loss)
        after = self._steps.own_params(state, memory, episode.support)
        query = Batch(*(tensor.cpu().numpy() for tensor in episode.query))
        new = Sample(query, self._loss(after, episode.query))
        return recalled, kept(samples, new, task, visit, self._forgetting_sets)

    def _loss(self, params: Tensor, examples: Batch[Tensor]) -> float:
        with torch.no_grad():
            x, y = (tensor.to(self.network.device) for tensor in examples)
            return self.network.loss(params, x, y).item()

    def _accuracy(self, predicted: Tensor | None, labels: Tensor) -> Scores:
        """The shares that are right, NaN where there was no prediction; unknown unless y is class numbers."""
        if predicted is None or not self.network.takes_classes:
            return UNKNOWN
        shares = (accuracy_of(one, labels).item() if one.isfinite().all() else math.nan for one in predicted)
        return Scores(*shares)

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


def _visited(
    stats: TaskStats, event: int, time_ms: int, losses: Scores, accuracy: Scores, recalled: Recalled
) -> TaskStats:
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
        accuracy_meta=_fade(stats.accuracy_meta, accuracy.meta, visits),
        accuracy_adapted=_fade(stats.accuracy_adapted, accuracy.adapted, visits),
        accuracy_memory=_fade(stats.accuracy_memory, accuracy.memory, visits - 1),
        loss_earlier=_fade(stats.loss_earlier, recalled.loss, visits - 1),
        forgetting=_fade(stats.forgetting, recalled.forgetting, visits - 1),
        windows=tuple(
            Windowed(blocks).fold(loss, block=TASK_BLOCK, blocks=1).blocks
            for blocks, loss in zip(stats.windows, losses, strict=True)
        ),
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
