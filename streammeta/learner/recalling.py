"""Forgetting at work: earlier query sets judged again at each visit, and the sample of them kept."""

import torch
from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.evaluation.forgetting import Recalled, Sample, kept
from streammeta.events import Batch
from streammeta.learner.chunk import Placed
from streammeta.learner.chunk_step import Tables
from streammeta.learner.tracing import Steps
from streammeta.models.network import Network
from streammeta.state.memories import Memories

_NOT_RECALLED = Recalled()


class Recaller:
    """Judges one earlier query set of a task at its parameters before each event, and keeps those to come."""

    def __init__(self, network: Network, steps: Steps, memories: Memories, size: int) -> None:
        """`size`: query sets kept per task."""
        self._network = network
        self._steps = steps
        self._memories = memories
        self._size = size

    def judge(self, state: State, tables: Tables, placed: Placed) -> Recalled:
        """One earlier query set at the task's parameters before the event; the first visits have none."""
        samples = self._memories.samples.get(placed.slot)
        if not samples:
            return _NOT_RECALLED
        visit = int(tables.visits[placed.slot]) + 1
        earlier = samples[visit % len(samples)]
        own = self._own(state, tables, placed)
        loss = self._loss(own, Batch(*(torch.from_numpy(array.copy()) for array in earlier.query)))
        return Recalled(loss, loss - earlier.loss)

    def keep(self, state: State, tables: Tables, placed: Placed) -> None:
        """After the event was learned: its query set, and the loss on it now, may enter the sample."""
        place, slot = placed.place, placed.slot
        query = Batch(*(tensor[place] for tensor in tables.episodes.query))
        loss = self._loss(self._own(state, tables, placed), query)
        new = Sample(Batch(*(tensor.cpu().numpy().copy() for tensor in query)), loss)
        samples, visit = self._memories.samples.get(slot, ()), int(tables.visits[slot])
        self._memories.samples[slot] = kept(samples, new, placed.event.task, visit, self._size)

    def _own(self, state: State, tables: Tables, placed: Placed) -> Tensor:
        support = Batch(*(tensor[placed.place].clone() for tensor in tables.episodes.support))
        return self._steps.own_params(state, tables.rows[placed.slot].clone(), support)

    def _loss(self, params: Tensor, examples: Batch[Tensor]) -> float:
        with torch.no_grad():
            x, y = (tensor.to(self._network.device) for tensor in examples)
            return self._network.loss(params, x, y).item()
