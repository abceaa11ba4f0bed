"""Where the learner stood before it learned from one task: to go back when a later event is refused."""

from typing import NamedTuple

from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.evaluation.forgetting import Samples
from streammeta.learner.chunk_step import copied
from streammeta.learner.flat import state_tensors
from streammeta.state.memories import Memories
from streammeta.state.store import TaskStats


class Mark(NamedTuple):
    """The meta-state, the events learned, and the task's row."""

    state: State
    learned: int
    slot: int
    memory: Tensor
    visits: int
    samples: Samples
    stats: TaskStats


def mark(state: State, learned: int, memories: Memories, slot: int) -> Mark:
    """Copies of what the next events of the task at `slot` may change."""
    samples = memories.samples.get(slot, ())
    return Mark(
        copied(state),
        learned,
        slot,
        memories.rows[slot].clone(),
        int(memories.visits[slot]),
        samples,
        memories.stats[slot],
    )


def back(to: Mark, state: State, memories: Memories) -> None:
    """Let `state` and the task's row be as they were."""
    put(state, to.state)
    memories.rows[to.slot] = to.memory
    memories.visits[to.slot] = to.visits
    memories.stats[to.slot] = to.stats
    memories.samples.pop(to.slot, None)
    if to.samples:
        memories.samples[to.slot] = to.samples


def put(into: State, numbers: State) -> None:
    """Let the tensors of one state hold the numbers of another, in place."""
    for now, other in zip(state_tensors(into), state_tensors(numbers), strict=True):
        now.copy_(other)
