"""One iteration of a chunk: everything is read from tables and written to them, by number.

Whatever runs the step (eager, traced, compiled) keeps to the same tables. A step that is not finite changes
nothing but its row of `numbers`.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.events import Batch, Episode
from streammeta.learner.tracing import Steps, state_tensors

NUMBERS: Final = (
    *("finite", "loss_meta", "loss_adapted", "loss_memory", "tracking_error"),
    *("gradient_norm", "update_norm", "meta_rate"),
)
"""Columns of `Tables.numbers`: what a watcher wants to know of an event."""


class Tables(NamedTuple):
    """What the steps over events of equal shapes read and write; N events, C tasks in RAM.

    Attributes:
        state: Where the learner stands; changed in place, so no two of its tensors share memory.
        rows: Memories of the tasks, shape (C, M).
        visits: Events learned from, shape (C,).
        slots: The row of each event's task, shape (N,).
        episodes: The events' sets, each with a leading axis N.
        numbers: `NUMBERS` of each event, shape (N, 8).
        predictions: Of the query sets, (N, 3, examples, …), as `Stepped` has them, where steps predict.
        singles: `singles_of` the slots.
    """

    state: State
    rows: Tensor
    visits: Tensor
    slots: Tensor
    episodes: Episode[Tensor]
    numbers: Tensor
    predictions: list[Tensor | None]
    singles: Sequence[Tensor]

    def at(self, places: Sequence[int]) -> Tensor:
        """The events at these places, shape (B,), as `step` takes them."""
        if len(places) == 1:
            return self.singles[places[0]]
        return torch.tensor(places, dtype=torch.int64, device=self.slots.device)


def singles_of(slots: Tensor) -> Sequence[Tensor]:
    """The index of each event alone, made together: a tensor made of numbers takes ten times as long."""
    return [*torch.arange(len(slots), device=slots.device)[:, None]]


def step(steps: Steps, tables: Tables, index: Tensor) -> bool:
    """One iteration over the events of `index`, shape (B,), of different tasks; whether it is finite.

    Raises:
        BadEvent, ConfigError, IndexError, ValueError, RuntimeError: as `Steps.step`; nothing has changed.
    """
    state, slots = tables.state, tables.slots[index]
    memory, before = tables.rows[slots], tables.visits[slots]
    episode = Episode(*(Batch(batch.x[index], batch.y[index]) for batch in tables.episodes))
    rate = steps.meta_rate(state)
    after = steps.step(state, memory, (before > 0).to(memory.dtype), episode)
    _note(tables, index, after.finite, [*after.info], rate)
    if after.predictions is not None:
        for place, predictions in zip(index.tolist(), after.predictions, strict=True):
            tables.predictions[place] = predictions
    if after.finite:
        # A new state may hold an old tensor: every value is taken before the first is written.
        kept = [tensor.clone() for tensor in state_tensors(after.state)]
        for old, new in zip(state_tensors(state), kept, strict=True):
            old.copy_(new)
        tables.rows[slots] = after.memory
        tables.visits[slots] = before + 1
    return after.finite


def _note(tables: Tables, index: Tensor, finite: bool, info: list[Tensor], rate: float) -> None:
    numbers = tables.numbers.new_empty(len(index), len(NUMBERS))
    loss_meta, loss_adapted, loss_memory, gradient_norm, update_norm, tracking_error = info
    columns = (loss_meta, loss_adapted, loss_memory, tracking_error, gradient_norm, update_norm)
    numbers[:, 0] = finite
    for place, column in enumerate(columns, 1):
        numbers[:, place] = column
    numbers[:, 7] = rate
    tables.numbers[index] = numbers


def copied(state: State) -> State:
    """The same numbers in memory of their own."""
    return State(
        state.params.clone(),
        {name: tensor.clone() for name, tensor in state.outer.items()},
        {name: tensor.clone() for name, tensor in state.slots.items()},
        state.inner_lr.clone(),
        state.meta_lr.clone(),
    )
