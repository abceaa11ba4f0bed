"""A learner's update as one graph, for tests that take many steps; `test_common` proves it the same."""

from collections.abc import Callable

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State
from streammeta.events import Batch, Episode
from streammeta.learner.flat import read_state, state_tensors
from streammeta.learner.graphs import trace

Step = Callable[[State, Tensor, Tensor, Episode[Tensor]], tuple[State, Tensor, Info]]


def traced(learner: MetaLearner, like: State, episode: Episode[Tensor]) -> Step:
    """`learner.update` for states and episodes of these shapes."""

    def flat(*inputs: Tensor) -> list[Tensor]:
        state, (memory, seen, *arrays) = read_state(like, list(inputs))
        sets = Episode(Batch(*arrays[:2]), Batch(*arrays[2:]))
        after, moved, info = learner.update(state, memory, seen, sets)
        return [*state_tensors(after), moved, *info]

    def inputs(state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> list[Tensor]:
        return [*state_tensors(state), memory, seen, *episode.support, *episode.query]

    seen = like.params.new_ones(episode.support.x.shape[0])
    graph = trace(flat, inputs(like, like.params.new_zeros(len(seen), learner.memory_size), seen, episode))

    def step(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        with torch.no_grad():
            after, (moved, *info) = read_state(like, graph(*inputs(state, memory, seen, episode)))
        return after, moved, Info(*info)

    return step
