"""Learning-rate schedules: an outer optimiser whose rate is multiplied by a factor of the updates made.

The base rate stays in the state, where a reload may change it; the count of updates lies in the slots.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from streammeta.algorithms.outer import Outer, Slots

Schedule = Callable[[Tensor], Tensor]
"""t, the updates made before this one, float64 of shape () -> the factor, float64 of shape ()."""

COUNT: Final = "scheduled"
"""The slot of t, an integer."""


def scheduled(outer: Outer, schedule: Schedule) -> Outer:
    """`outer` with the rate η · schedule(t).

    >>> from streammeta.algorithms.outer import sgd
    >>> halving = scheduled(sgd(), lambda t: 0.5**t)
    >>> w, slots = torch.tensor([1.0]), halving.init(torch.zeros(1))
    >>> for _ in range(3):
    ...     w, slots = halving.update(w, torch.tensor([1.0]), slots, torch.tensor(0.4))
    >>> w, slots
    (tensor([0.3000]), {'scheduled': tensor(3)})
    """

    def init(params: Tensor) -> Slots:
        return {**outer.init(params), COUNT: torch.zeros((), dtype=torch.int64, device=params.device)}

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        count = slots[COUNT]
        own = {name: slot for name, slot in slots.items() if name != COUNT}
        moved, after = outer.update(params, gradient, own, rate_at(schedule, slots, lr))
        return moved, {**after, COUNT: count + 1}

    return Outer(init, update)


def rate_at(schedule: Schedule, slots: Slots, lr: Tensor) -> Tensor:
    """η · schedule(t), shape (): the rate of the next update from these slots of a `scheduled` optimiser."""
    return lr * schedule(slots[COUNT].double()).to(lr.dtype)


def constant() -> Schedule:
    """1 at every t."""
    return torch.ones_like


def step(updates: int, fractions: Sequence[float], factor: float) -> Schedule:
    """`factor` to the number of fractions with t >= fraction · updates.

    >>> [step(10, [0.5, 0.8], 0.5)(torch.tensor(t)).item() for t in (4.0, 5.0, 8.0)]
    [1.0, 0.5, 0.25]
    """
    drops = [fraction * updates for fraction in fractions]

    def at(count: Tensor) -> Tensor:
        rate = torch.ones_like(count)
        for drop in drops:
            rate = torch.where(count >= drop, rate * factor, rate)
        return rate

    return at


def inverse_sqrt(updates: int) -> Schedule:
    """1/√(1 + t/s), s = `updates`; with s = 1 the rate of the k-th update is η/√k.

    >>> inverse_sqrt(1)(torch.tensor(3.0)).item()
    0.5
    """
    return lambda count: torch.rsqrt(1 + count / updates)


def cosine(updates: int, floor: float = 0.0) -> Schedule:
    """Half a cosine: f + (1 − f) ½(1 + cos(π t/s)) up to t = s, then f; s = `updates`, f = `floor`.

    Source: Loshchilov, Hutter 2017, arXiv:1608.03983, equation 5, without restarts.

    >>> [round(cosine(4, floor=0.2)(torch.tensor(t)).item(), 4) for t in (0.0, 2.0, 4.0, 9.0)]
    [1.0, 0.6, 0.2, 0.2]
    """

    def at(count: Tensor) -> Tensor:
        angle = math.pi * torch.clamp(count / updates, max=1)
        return floor + (1 - floor) * 0.5 * (1 + torch.cos(angle))

    return at
