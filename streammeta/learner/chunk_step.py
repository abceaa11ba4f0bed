"""One iteration of a chunk: everything is read from tables and written to them, by number.

Whatever runs the step (eager, traced, compiled) keeps to the same tables, in the order of `chunk_step`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.events import Episode
from streammeta.learner.chunk import Group
from streammeta.learner.executors.chunk import chunk_step
from streammeta.learner.executors.serving import Shape
from streammeta.learner.flat import state_tensors
from streammeta.learner.tracing import Steps


@dataclass(slots=True, eq=False)
class Tables:
    """What the steps over events of equal shapes read and write; N events, C tasks in RAM.

    Attributes:
        group: The events.
        state: Where the learner stands; changed in place, so no two of its tensors share memory.
        rows: Memories of the tasks, shape (C, M).
        visits: Events learned from, shape (C,).
        shapes: Events of an iteration -> who computes it.
        slots: The row of each event's task, shape (N,).
        episodes: The events' sets, each with a leading axis N.
        flat: The tensors of `chunk_step`, without the index.
    """

    group: Group
    state: State
    rows: Tensor
    visits: Tensor
    shapes: dict[int, Shape] = field(default_factory=dict)
    slots: Tensor = field(init=False)
    episodes: Episode[Tensor] = field(init=False)
    flat: list[Tensor] = field(init=False)
    _arrays: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        """Put them in their order; on another device than the events are, as copies."""
        group, device = self.group, self.rows.device
        self._arrays = group.tensors
        self.slots, self.episodes = group.slots.to(device), group.episodes(device)
        arrays = (*self.episodes.support, *self.episodes.query)
        self.flat = [*state_tensors(self.state), self.rows, self.visits, self.slots, *arrays, group.numbers]
        if group.predictions is not None:
            self.flat.append(group.predictions)

    def hold(self, rows: Tensor) -> bool:
        """Whether they still are the memory of events and tasks: copies are not, once events were placed."""
        return self.rows is rows and self._arrays is self.group.tensors and self.slots is self.group.slots

    def inputs(self, index: Tensor) -> list[Tensor]:
        """The update's, for the events at `index`."""
        slots = self.slots[index]
        memory, arrays = self.rows[slots], (*self.episodes.support, *self.episodes.query)
        seen = (self.visits[slots] > 0).to(memory.dtype)
        return [*state_tensors(self.state), memory, seen, *(array[index] for array in arrays)]


class Singles:
    """The index of each event alone, made together: a tensor made of numbers takes ten times as long."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._singles: Sequence[Tensor] = ()

    def of(self, count: int) -> Sequence[Tensor]:
        """Those of the first `count` events, at least."""
        if count > len(self._singles):
            self._singles = [*torch.arange(2 * count, device=self._device)[:, None]]
        return self._singles

    def at(self, places: Sequence[int]) -> Tensor:
        """The events at these places, shape (B,)."""
        if len(places) == 1:
            return self.of(places[0] + 1)[places[0]]
        return torch.tensor(places, dtype=torch.int64, device=self._device)


def step_traced(steps: Steps, tables: Tables, index: Tensor) -> None:
    """One iteration over the events of `index`, shape (B,), of different tasks, by the traced step.

    Raises:
        BadEvent, ConfigError, IndexError, ValueError, RuntimeError: as `Steps.step`; nothing has changed.
    """
    group, state = tables.group, tables.state
    predicted: list[Tensor] = []

    def update(*inputs: Tensor) -> list[Tensor]:
        outputs = steps.update(state, [*inputs])
        predicted.append(outputs[1])
        return outputs

    with torch.no_grad():
        chunk_step(update, len(state_tensors(state)), *tables.flat, index)
    if steps.predicts and group.predictions is None:
        # The first event of these shapes: now it is known what a prediction looks like.
        tables.flat.append(group.predict(predicted[0]))
        tables.flat[-1].index_put_((index,), predicted[0])


def copied(state: State) -> State:
    """The same numbers in memory of their own."""
    return State(
        state.params.clone(),
        {name: tensor.clone() for name, tensor in state.outer.items()},
        {name: tensor.clone() for name, tensor in state.slots.items()},
        state.inner_lr.clone(),
        state.meta_lr.clone(),
    )
