"""Many runs of one learner at once: every tensor has a leading axis of runs, one traced step moves all.

Runs differ in their first parameters, in their data and, where wanted, in their learning rates. Eight times
the runs cost about twice the time.
"""

import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State
from streammeta.events import Batch, Episode
from streammeta.learner.flat import read_state, signature_of, state_tensors
from streammeta.learner.graphs import FlatStep, trace

Draw = tuple[Tensor, Episode[Tensor]]
"""Task numbers (runs, B), each task once in a run, and their episodes, each tensor (runs, B, examples, …)."""

WORTH_COMPILING = 4000
"""Steps from which the half minute that a compiler needs comes back."""


@dataclass
class Population:
    """Independent runs of one learner.

    Attributes:
        learner: The algorithm.
        state: Every tensor with a leading axis of runs.
        memories: Task memories (runs, tasks, M).
        seen: 1 where a task was visited (runs, tasks).
    """

    learner: MetaLearner
    state: State
    memories: Tensor
    seen: Tensor
    _steps: dict[object, FlatStep] = field(default_factory=dict, repr=False)

    @classmethod
    def begin(cls, learner: MetaLearner, starts: Tensor, tasks: int) -> "Population":
        """One run from each row of `starts` (runs, d), no task seen."""
        state = State(*torch.func.vmap(learner.init)(starts))
        runs = starts.shape[0]
        memories = starts.new_zeros(runs, tasks, learner.memory_size)
        return cls(learner, state, memories, starts.new_zeros(runs, tasks))

    def learn(self, draws: Iterable[Draw], *, fast: bool = False) -> Iterator[int]:
        """One iteration a draw; yields how many were done.

        Args:
            draws: The data of each iteration.
            fast: Compile the step where a C++ compiler is at hand: five times faster after half a minute, and
                the same but for rounding.
        """
        rows = torch.arange(self.seen.shape[0])[:, None]
        for done, (picked, episode) in enumerate(draws, 1):
            at = (rows, picked)
            inputs = [
                *state_tensors(self.state),
                self.memories[at],
                self.seen[at],
                *episode.support,
                *episode.query,
            ]
            with torch.no_grad():
                outputs = self._prepared(inputs, episode, fast=fast)(*inputs)
            self.state, (self.memories[at],) = read_state(self.state, outputs)
            self.seen[at] = 1
            yield done

    def scale_meta_lr(self, factor: float) -> None:
        """Multiply the meta learning rate of all runs."""
        self.state = self.state._replace(meta_lr=self.state.meta_lr * factor)

    def _prepared(self, inputs: list[Tensor], episode: Episode[Tensor], *, fast: bool) -> FlatStep:
        signature = signature_of(episode)
        if signature not in self._steps:
            step = trace(self._step(), inputs)
            self._steps[signature] = compiled(step, inputs) if fast else step
        return self._steps[signature]

    def _step(self) -> Callable[..., list[Tensor]]:
        """The update without what it tells to watchers, which the trace then leaves out."""
        like = self.state

        def step(*flat: Tensor) -> list[Tensor]:
            state, (memory, seen, *arrays) = read_state(like, list(flat))
            episode = Episode(Batch(*arrays[:2]), Batch(*arrays[2:]))
            after, moved, _ = torch.func.vmap(self.learner.update)(state, memory, seen, episode)
            return [*state_tensors(after), moved]

        return step


def compiled(step: FlatStep, inputs: list[Tensor]) -> FlatStep:
    """The step as machine code, or as it is where no compiler works."""
    if shutil.which("g++") is None and shutil.which("clang++") is None:
        return step
    try:
        with warnings.catch_warnings(action="ignore"):
            fast: FlatStep = torch.compile(step, dynamic=False)
            fast(*inputs)
    except Exception:  # noqa: BLE001 - compilers fail in many ways, and none of them matters here
        return step
    return fast
