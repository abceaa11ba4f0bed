"""Ranks that unite every H events of each, for several H and seeds at once.

Lanes of one population, by (H, seed, rank). The mean is that of the daemon's rounds, `algorithms/merging.py`;
each rank learns one event a step, so all weigh the same. H = 1 is one process with iterations of R events.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final

import torch
from torch import Tensor
from torch.func import vmap

from streammeta.algorithms.base import State
from streammeta.algorithms.merging import counts_of, largest, mean_state, numbers_of
from streammeta.algorithms.outer import adam
from streammeta.algorithms.steps import adapt
from streammeta.events import Batch, Episode
from streammeta.learner.flat import read_state, state_tensors
from streammeta.reproduce.communication.streams import Shared
from streammeta.reproduce.learners import LEARNERS
from streammeta.reproduce.population import Draw, Population

RANKS: Final = 4
TOGETHER: Final = 50
"""Unseen tasks that are judged at once."""

Turn = tuple[int, Episode[Tensor]]
"""A task's number with its rank, and what came of it."""


class Groups:
    """A group of ranks for each length of a round and each seed."""

    def __init__(self, shared: Shared, lengths: Sequence[int], seeds: int) -> None:
        """Nothing learned."""
        net = shared.network
        learner = LEARNERS["moml"](net, adam(), shared.inner_lr, shared.meta_lr, 1)
        starts = net.initial.expand(len(lengths) * seeds * RANKS, -1).contiguous()
        self._shared, self._lengths, self._seeds = shared, lengths, seeds
        self._population = Population.begin(learner, starts, -(-len(shared.tasks) // RANKS))
        state = self._population.state  # its rates are one number, seen many times: no place to write to
        own = [tensor.clone(memory_format=torch.contiguous_format) for tensor in state_tensors(state)]
        self._population.state = read_state(state, own)[0]
        self._unseen = _stacked([net.tensors(episode) for episode in shared.unseen])

    @property
    def size_bytes(self) -> int:
        """What a rank hands over at the end of a round."""
        numbers = numbers_of(self._lane(0))
        return numbers.numel() * numbers.element_size()

    @property
    def params(self) -> Tensor:
        """The meta-parameters of all lanes."""
        return self._population.state.params

    def learn(self, events: int) -> Iterator[int]:
        """So many events of each rank; yields how many were learned."""
        for done in self._population.learn(islice(self._draws(), events)):
            for place, length in enumerate(self._lengths):
                if done % length == 0:
                    for seed in range(self._seeds):
                        self._unite(place, seed)
            yield done

    def losses(self, place: int) -> list[float]:
        """With the length at this place: of each seed, at the mean of its ranks."""
        return [self._judged(_mean(self._group(place, seed))) for seed in range(self._seeds)]

    def _draws(self) -> Iterator[Draw]:
        streams = [_turns(self._shared, seed) for seed in range(self._seeds)]
        for turns in zip(*streams, strict=True):
            flat = [turn for of_seed in turns for turn in of_seed]
            numbers = torch.tensor([[number] for number, _ in flat])
            episode = _stacked([episode for _, episode in flat])
            each = len(self._lengths)
            yield (
                numbers.repeat(each, 1),
                Episode(*(Batch(*(torch.cat([t[:, None]] * each) for t in batch)) for batch in episode)),
            )

    def _lanes(self, place: int, seed: int) -> range:
        first = (place * self._seeds + seed) * RANKS
        return range(first, first + RANKS)

    def _lane(self, lane: int) -> State:
        state = self._population.state
        return read_state(state, [tensor[lane] for tensor in state_tensors(state)])[0]

    def _group(self, place: int, seed: int) -> list[State]:
        return [self._lane(lane) for lane in self._lanes(place, seed)]

    def _unite(self, place: int, seed: int) -> None:
        mean = _mean(self._group(place, seed))
        lanes = self._lanes(place, seed)
        every = state_tensors(self._population.state)
        for tensor, one in zip(every, state_tensors(mean), strict=True):
            tensor[lanes.start : lanes.stop] = one

    def _judged(self, state: State) -> float:
        net = self._shared.network
        adapted = adapt(net.loss, self._shared.steps)

        def one(support: Batch[Tensor], query: Batch[Tensor]) -> Tensor:
            return net.loss(adapted(state, support), *query)

        with torch.no_grad():
            return vmap(one, chunk_size=TOGETHER)(*self._unseen).mean().item()


def _mean(states: Sequence[State]) -> State:
    numbers = torch.stack([numbers_of(state) for state in states]).mean(0)
    return mean_state(states[0], numbers, largest([counts_of(state) for state in states]))


def _turns(shared: Shared, seed: int) -> Iterator[list[Turn]]:
    """One event of each rank, as they come in the stream."""
    waiting = [deque[Turn]() for _ in range(RANKS)]
    places = {task: place for place, task in enumerate(shared.tasks)}
    for task, arrays in shared.stream(seed):
        place = places[task]
        waiting[place % RANKS].append((place // RANKS, shared.network.tensors(arrays)))
        if all(waiting):
            yield [of.popleft() for of in waiting]


def _stacked(episodes: Sequence[Episode[Tensor]]) -> Episode[Tensor]:
    def of(pick: Callable[[Episode[Tensor]], Batch[Tensor]]) -> Batch[Tensor]:
        return Batch(*(torch.stack(tensors) for tensors in zip(*map(pick, episodes), strict=True)))

    return Episode(of(lambda one: one.support), of(lambda one: one.query))
