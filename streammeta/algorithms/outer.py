"""Outer optimisers: how the meta-gradient moves the meta-parameters. They serve every algorithm.

Each is an `(init, update)` pair of pure functions; the meta learning rate comes in with every call.
"""

import math
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
    _check_weight("momentum", momentum)

    def init(params: Tensor) -> Slots:
        return {"momentum": torch.zeros_like(params)} if momentum else {}

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        if not momentum:
            return params - lr * gradient, slots
        velocity = momentum * slots["momentum"] + gradient
        return params - lr * velocity, {"momentum": velocity}

    return Outer(init, update)


def sngdm(*, momentum: float = 0.9) -> Outer:
    """Normalised descent with momentum: m ← βm + (1−β)g;  w ← w − γ m/‖m‖, no step at ‖m‖ = 0.

    Steps of one length suit objectives whose smoothness grows with the gradient norm (L0 + L1‖∇F‖). The mean
    comes before the norm, so that one task a step will do. Costs d numbers of state.

    Args:
        momentum: β in [0, 1); 1 − T^(−1/2) with γ ∝ T^(−3/4) for a run of T steps.

    Raises:
        ValueError: `momentum` is out of range.

    Source: Cutkosky, Mehta 2020, arXiv:2002.03305; as in Chayti, Jaggi 2024, arXiv:2409.03682 [derived].

    >>> w, m = sngdm(momentum=0.5).update(
    ...     torch.zeros(2), torch.tensor([6.0, 8.0]), {"momentum": torch.zeros(2)}, torch.tensor(0.1))
    >>> w, m
    (tensor([-0.0600, -0.0800]), {'momentum': tensor([3., 4.])})
    """
    _check_weight("momentum", momentum)

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        mean = momentum * slots["momentum"] + (1 - momentum) * gradient
        return params - lr * _unit(mean), {"momentum": mean}

    return Outer(lambda params: {"momentum": torch.zeros_like(params)}, update)


def normalized() -> Outer:
    """Normalised descent: w ← w − γ g/‖g‖, no step at ‖g‖ = 0. No state.

    With one task a step it comes to rest where the mean of g/‖g‖ vanishes, not the mean of g: take `sngdm`.

    Source: as in Chayti, Jaggi 2024, arXiv:2409.03682 [derived].
    """

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        return params - lr * _unit(gradient), slots

    return Outer(lambda _: {}, update)


def clipped(*, max_step: float) -> Outer:
    """Clipped descent: w ← w − min(γ, c/‖g‖) g, so that ‖Δw‖ ≤ c. No state.

    Args:
        max_step: c > 0.

    Raises:
        ValueError: `max_step` is not positive.

    Source: Zhang, He, Sra, Jadbabaie 2020, arXiv:1905.11881, as in arXiv:2409.03682 [derived].
    """
    if max_step <= 0:
        raise ValueError(f"max_step must be positive, got {max_step}")

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        bound = max_step / torch.linalg.vector_norm(gradient)
        return params - torch.minimum(lr, bound) * gradient, slots

    return Outer(lambda _: {}, update)


def adam(*, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Outer:
    """Adam: m ← β₁m + (1−β₁)g;  s ← β₂s + (1−β₂)g²;  w ← w − η m̂/(√ŝ + ε), m̂ = m/(1−β₁ᵗ), ŝ = s/(1−β₂ᵗ).

    As torch.optim.Adam does it. Costs 2d + 1 numbers of state.

    Args:
        beta1: β₁ in [0, 1).
        beta2: β₂ in [0, 1).
        epsilon: ε > 0.

    Raises:
        ValueError: a setting is out of range.

    Source: Kingma, Ba 2015, arXiv:1412.6980, Algorithm 1.
    """
    _check_weight("beta1", beta1)
    _check_weight("beta2", beta2)
    if epsilon <= 0:
        raise ValueError(f"epsilon must be positive, got {epsilon}")

    def init(params: Tensor) -> Slots:
        count = torch.zeros((), dtype=torch.int64, device=params.device)
        return {"mean": torch.zeros_like(params), "square": torch.zeros_like(params), "count": count}

    def update(params: Tensor, gradient: Tensor, slots: Slots, lr: Tensor) -> tuple[Tensor, Slots]:
        count = slots["count"] + 1
        mean = beta1 * slots["mean"] + (1 - beta1) * gradient
        square = beta2 * slots["square"] + (1 - beta2) * gradient * gradient
        unbiased, root = mean / _one_minus_power(beta1, count, mean), torch.sqrt(square)
        scale = root / torch.sqrt(_one_minus_power(beta2, count, square)) + epsilon
        return params - lr * unbiased / scale, {"mean": mean, "square": square, "count": count}

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


def _unit(vector: Tensor) -> Tensor:
    """v/‖v‖, or 0 at v = 0. Divided by its largest number first: no square over- or underflows."""
    largest = vector.abs().amax()
    scaled = vector / torch.where(largest == 0, torch.ones_like(largest), largest)
    norm = torch.linalg.vector_norm(scaled)
    return scaled / torch.where(norm == 0, torch.ones_like(norm), norm)


def _one_minus_power(base: float, count: Tensor, like: Tensor) -> Tensor:
    """1 − baseᵗ in the dtype of `like`, without the cancellation of digits in 1 − 0.999."""
    if base == 0:
        return torch.ones((), dtype=like.dtype, device=like.device)
    return -torch.expm1(math.log(base) * count.to(like.dtype))


def _check_weight(name: str, weight: float) -> None:
    if not 0 <= weight < 1:
        raise ValueError(f"{name} must be in [0, 1), got {weight}")
