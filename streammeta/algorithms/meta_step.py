"""The adaptive meta step of multi-step MAML: from bounds on the loss to the smoothness of the objective.

With L a bound on the Hessian of the loss and ρ a Lipschitz constant of that Hessian, the objective of N inner
steps of size α is smooth along the path with

    L̂ = M^{2N} L + C_L mean_i ‖∇l_i(w)‖,   C_L = (ρ/L) M^{2N−1} (M^N − 1),   M = 1 + αL

Source: Ji, Yang, Liang, JMLR 23(1) 2022, arXiv:2002.07836 [form recalled, algebra confirmed].
"""

from collections.abc import Callable, Mapping
from typing import Final, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Loss, State, per_task
from streammeta.algorithms.steps import gradient_and_hessian
from streammeta.events import Batch, Episode

T = TypeVar("T")

FADING: Final = 0.999
"""What a running estimate keeps per update: a maximum over about the last thousand."""


class Constants(NamedTuple, Generic[T]):
    """Constants of the loss.

    Attributes:
        smoothness: L, a bound on ‖∇²l‖.
        hessian_lipschitz: ρ, a bound on ‖∇²l(w) − ∇²l(u)‖ / ‖w − u‖.
    """

    smoothness: T
    hessian_lipschitz: T


Rate = Callable[[State, Tensor, Episode[Tensor]], tuple[Tensor, Mapping[str, Tensor]]]
"""(state, ends of the inner steps (B, d), episode) -> the meta step, shape (), and the next slots."""

UNKNOWN: Final = -1.0
"""Slot `gradient_norm` before the first update."""


def first_slots(params: Tensor) -> Mapping[str, Tensor]:
    """What `adaptive_rate` keeps: the last mean gradient norm, and the running estimates of L and ρ."""
    values = {"gradient_norm": UNKNOWN, "smoothness": 0.0, "hessian_lipschitz": 0.0}
    return {name: params.new_tensor(value) for name, value in values.items()}  # a trace needs tensors apart


def adaptive_rate(
    loss: Loss, inner_steps: int, smoothness: float | None = None, hessian_lipschitz: float | None = None
) -> Rate:
    """The meta step η/L̂, η = 1/C_β; no step while no curvature was seen.

    The gradient norms in L̂ are those of the update before, whose tasks and data are independent of the
    present ones (at the first update there are none, and the present ones serve).

    Args:
        loss: Mean loss of one task; twice differentiable.
        inner_steps: N.
        smoothness: L; when absent, the largest curvature seen lately (`observed`): from below.
        hessian_lipschitz: ρ; likewise.

    Raises:
        ValueError: a constant is not positive.
    """
    given = Constants(smoothness, hessian_lipschitz)
    for name, constant in given._asdict().items():
        if constant is not None and constant <= 0:
            raise ValueError(f"{name} must be positive, got {constant}")

    def task(params: Tensor, end: Tensor, episode: Episode[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        gradient = grad(loss)(params, *episode.query)
        seen = observed(loss, params, end, episode.support, gradient)
        return torch.linalg.vector_norm(gradient), *seen

    def rate(state: State, ends: Tensor, episode: Episode[Tensor]) -> tuple[Tensor, Mapping[str, Tensor]]:
        norms, *seen = per_task(lambda end, episode: task(state.params, end, episode))(ends, episode)
        present, before = norms.mean(), state.slots["gradient_norm"]
        running = {
            name: torch.maximum(FADING * state.slots[name], values.amax())
            for name, values in zip(Constants._fields, seen, strict=True)
        }
        constants = Constants(
            *(
                running[name] if value is None else torch.full_like(present, value)
                for name, value in given._asdict().items()
            )
        )
        norm = torch.where(before == UNKNOWN, present, before)
        smooth = objective_smoothness(constants, state.inner_lr, inner_steps, norm)
        return _ratio(state.meta_lr, smooth), {"gradient_norm": present, **running}

    return rate


def inner_rate(smoothness: float, inner_steps: int) -> float:
    """α = 1/(8NL), which keeps M^N <= 1.133 for every N [recalled].

    >>> inner_rate(2.0, 5)
    0.0125
    """
    return 1 / (8 * max(inner_steps, 1) * smoothness)


def curvature_weight(constants: Constants[Tensor], alpha: Tensor, inner_steps: int) -> Tensor:
    """C_L, written as ρ α M^{2N−1} (1 + M + … + M^{N−1}), which needs no division by L."""
    growth = 1 + alpha * constants.smoothness
    powers = sum((growth**k for k in range(inner_steps)), torch.zeros_like(growth))
    return constants.hessian_lipschitz * alpha * growth ** (2 * inner_steps - 1) * powers


def objective_smoothness(
    constants: Constants[Tensor], alpha: Tensor, inner_steps: int, gradient_norm: Tensor
) -> Tensor:
    """L̂, shape ().

    Args:
        constants: L and ρ.
        alpha: α, shape ().
        inner_steps: N.
        gradient_norm: mean_i ‖∇l_i(w)‖ over tasks other than those of the meta-gradient, shape ().
    """
    growth = (1 + alpha * constants.smoothness) ** (2 * inner_steps)
    return growth * constants.smoothness + curvature_weight(constants, alpha, inner_steps) * gradient_norm


def observed(
    loss: Loss, start: Tensor, end: Tensor, batch: Batch[Tensor], along: Tensor
) -> Constants[Tensor]:
    """What one task shows of L and ρ, from two Hessian-vector products; lower bounds, 0 where nothing shows.

    L: max(‖H(w)h‖, ‖H(u)h‖)/‖h‖;  ρ: ‖H(u)h − H(w)h‖ / (‖u − w‖ ‖h‖), all shape ().

    Args:
        loss: The task's.
        start: w (d,).
        end: u (d,), where its inner steps end.
        batch: Examples of the Hessian H.
        along: h (d,), such as the gradient at w.
    """
    first = gradient_and_hessian(loss, start, batch)[1](along)
    last = gradient_and_hessian(loss, end, batch)[1](along)
    length, distance = torch.linalg.vector_norm(along), torch.linalg.vector_norm(end - start)
    largest = torch.maximum(torch.linalg.vector_norm(first), torch.linalg.vector_norm(last))
    change = torch.linalg.vector_norm(last - first)
    return Constants(_ratio(largest, length), _ratio(change, length * distance))


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    positive = below > 0
    return torch.where(positive, above / torch.where(positive, below, torch.ones_like(below)), 0 * below)
