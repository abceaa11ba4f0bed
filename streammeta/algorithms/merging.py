"""States that learned apart, and their mean: what is sent, and what is made of it.

LocalMOML's server averages w over its clients; here ranks are the clients, and what the outer optimiser and
the algorithm keep is averaged too. A weighted mean is a sum of weighted vectors: one all-reduce brings it.
Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911, LocalMOML; slots likewise. [derived]
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from streammeta.algorithms.base import State


def numbers_of(state: State) -> Tensor:
    """What of a state is averaged, as one vector: w and the slots that are no counts, by name."""
    return torch.cat([tensor.reshape(-1) for tensor in _averaged(state)])


def counts_of(state: State) -> list[int]:
    """The counts among the slots, by name, one after the other."""
    return [count for tensor in _counts(state) for count in tensor.reshape(-1).tolist()]


def mean_state(like: State, numbers: Tensor, counts: Sequence[int]) -> State:
    """The inverse of `numbers_of` and `counts_of`; the learning rates are those of `like`."""
    pieces = iter(torch.split(numbers, [tensor.numel() for tensor in _averaged(like)]))
    params = next(pieces).view_as(like.params)
    left = iter(counts)
    outer, slots = (_named(named, pieces, left) for named in (like.outer, like.slots))
    return like._replace(params=params, outer=outer, slots=slots)


def largest(counts: Sequence[Sequence[int]]) -> list[int]:
    """Count by count the largest of all ranks: ranks that did less are not further on than that.

    >>> largest([[3, 7], [5, 0]])
    [5, 7]
    """
    return [max(column) for column in zip(*counts, strict=True)]


def shares(weights: Sequence[int]) -> list[float]:
    """The weights as parts of 1; all 0 where nobody has any.

    >>> shares([3, 0, 1]), shares([0, 0])
    ([0.75, 0.0, 0.25], [0.0, 0.0])
    """
    total = sum(weights)
    return [weight / total if total else 0.0 for weight in weights]


def _averaged(state: State) -> list[Tensor]:
    return [state.params, *(tensor for tensor in _slots(state) if tensor.is_floating_point())]


def _counts(state: State) -> list[Tensor]:
    return [tensor for tensor in _slots(state) if not tensor.is_floating_point()]


def _slots(state: State) -> list[Tensor]:
    return [named[name] for named in (state.outer, state.slots) for name in sorted(named)]


def _named(like: Mapping[str, Tensor], pieces: Iterator[Tensor], counts: Iterator[int]) -> dict[str, Tensor]:
    made = {}
    for name in sorted(like):
        tensor = like[name]
        if tensor.is_floating_point():
            made[name] = next(pieces).view_as(tensor)
        else:
            values = [next(counts) for _ in range(tensor.numel())]
            made[name] = torch.tensor(values, dtype=tensor.dtype, device=tensor.device).view_as(tensor)
    return made
