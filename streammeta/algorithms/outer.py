"""Outer optimisers: how the meta-gradient moves the meta-parameters. They serve every algorithm.

Each is an `(init, update)` pair of pure functions; the meta learning rate comes in with every call.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

Slots = Mapping[str, Tensor]


class Outer(NamedTuple):
    """An outer optimiser.

    Attributes:
        init: (w (d,)) -> its slots, by name.
        update: (w, meta-gradient (d,), slots, η) -> the next w, the next slots.
    """

    init: Callable[[Tensor], Slots]
    update: Callable[[Tensor, Tensor, Slots, Tensor], tuple[Tensor, Slots]]


def sgd(*, momentum: float = 0.0) -> Outer:
    """Heavy ball: m ← μ m + g;  w ← w − η m.  Costs d numbers of state when μ > 0, none otherwise.

    Source: Polyak 1964; as in Wang et al., JMLR 24(145) 2023, section 5.

    >>> w, m = sgd(momentum=0.5).update(
    ...     torch.tensor([1.0]), torch.tensor([2.0]), {"momentum": torch.tensor([4.0])}, torch.tensor(0.1))
    >>> w, m
    (tensor([0.6000]), {'momentum': tensor([4.])})
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be in [0, 1), got {momentum}")

    def init(params: Tensor) -> Slots:
        return {"momentum": torch.zeros_like(params)} if momentum else {}

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        if not momentum:
            return params - lr * gradient, slots
        velocity = momentum * slots["momentum"] + gradient
        return params - lr * velocity, {"momentum": velocity}

    return Outer(init, update)


def clip_norm(outer: Outer, bound: float) -> Outer:
    """Shrink the meta-gradient to norm `bound` before `outer` sees it: g ← g min(1, c/‖g‖).

    Source: Pascanu, Mikolov, Bengio 2013, arXiv:1211.5063, Algorithm 1.
    """
    if bound <= 0:
        raise ValueError(f"clip_norm must be positive, got {bound}")

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        norm = torch.linalg.vector_norm(gradient)
        scale = bound / torch.clamp(norm, min=bound)
        return outer.update(params, gradient * scale, slots, lr)

    return Outer(outer.init, update)
