"""Several seeds of one experiment at once: every tensor has a leading seed axis, one traced step moves all.

On two cores this is what makes five seeds cost little more than one.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State
from streammeta.events import Batch, Episode
from streammeta.tracing import read_state, state_tensors, trace

Draw = Callable[[], tuple[Tensor, Episode[Tensor]]]
"""-> task numbers (seeds, B), and their episodes, each tensor (seeds, B, examples, …)."""


@dataclass
class Population:
    """Independent runs of one learner.

    Attributes:
        learner: The algorithm.
        state: Every tensor with a leading seed axis.
        memories: Task memories (seeds, tasks, M).
        seen: 1 where a task was visited (seeds, tasks).
    """

    learner: MetaLearner
    state: State
    memories: Tensor
    seen: Tensor

    @classmethod
    def begin(cls, learner: MetaLearner, starts: Tensor, tasks: int) -> "Population":
        """One run from each row of `starts` (seeds, d), tasks unseen."""
        state = State(*torch.func.vmap(learner.init)(starts))
        seeds = starts.shape[0]
        memories = starts.new_zeros(seeds, tasks, learner.memory_size)
        return cls(learner, state, memories, starts.new_zeros(seeds, tasks))

    def learn(self, draw: Draw, iterations: int) -> Iterator[Info]:
        """Iterations of B tasks each; what each did, with a leading seed axis."""
        run = None
        rows = torch.arange(self.seen.shape[0])
        for _ in range(iterations):
            picked, episode = draw()
            columns = (rows[:, None], picked)
            inputs = [
                *state_tensors(self.state),
                self.memories[columns],
                self.seen[columns],
                *episode.support,
                *episode.query,
            ]
            with torch.no_grad():
                run = run or trace(self._step(), inputs)
                self.state, (moved, *info) = read_state(self.state, run(*inputs))
            # one task of the iteration after the other, so that of a task drawn twice the last row stays
            for b in range(picked.shape[1]):
                self.memories[rows, picked[:, b]] = moved[:, b]
            self.seen[columns] = 1
            yield Info(*info)

    def _step(self) -> Callable[..., list[Tensor]]:
        like = self.state

        def step(*flat: Tensor) -> list[Tensor]:
            state, (memory, seen, *arrays) = read_state(like, list(flat))
            episode = Episode(Batch(*arrays[:2]), Batch(*arrays[2:]))
            after, moved, info = torch.func.vmap(self.learner.update)(state, memory, seen, episode)
            return [*state_tensors(after), moved, *info]

        return step

    def scale_meta_lr(self, factor: float) -> None:
        """Multiply the meta learning rate of all runs."""
        self.state = self.state._replace(meta_lr=self.state.meta_lr * factor)
