"""What most algorithms are made of: the first state, the inner step with its pull-back, the outer step."""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.func import grad, vjp

from streammeta.algorithms.base import Loss, State
from streammeta.algorithms.outer import Outer
from streammeta.events import Batch

Order = Literal["first", "second"]
HessianSet = Literal["support", "half"]

PullBack = Callable[[Tensor], Tensor]
"""h (d,) -> Jᵀ h, where J is the Jacobian of an inner step in the parameters it began at."""

InnerGradient = Callable[[Tensor, Tensor, Batch[Tensor]], tuple[Tensor, PullBack]]
"""(w, α, S) -> the direction p of the inner step w − αp, and that step's pull-back."""


def first_state(
    outer: Outer,
    inner_lr: float,
    meta_lr: float,
    slots: Callable[[Tensor], Mapping[str, Tensor]] = lambda _params: {},
) -> Callable[[Tensor], State]:
    """A learner's `init`: w -> the first state; `slots` says what the algorithm keeps beside.

    Raises:
        ValueError: a rate is negative.
    """
    if inner_lr < 0 or meta_lr < 0:
        raise ValueError(f"learning rates must not be negative, got inner {inner_lr}, meta {meta_lr}")
    return lambda params: State(
        params, outer.init(params), slots(params), params.new_tensor(inner_lr), params.new_tensor(meta_lr)
    )


Curb = Callable[[Tensor], tuple[Tensor, PullBack]]
"""p (d,) -> the direction that an inner step takes for it, and h -> Jᵀ h, J its Jacobian in p."""


def curb(clip_norm: float | None) -> Curb:
    """The clip p -> p · min(1, c/‖p‖), with h -> J h for its Jacobian J, which is symmetric.

        ‖p‖ <= c:  p,           J = I
        ‖p‖ > c:   c p̂,         J = (c/‖p‖) (I − p̂p̂ᵀ),   p̂ = p/‖p‖

    A step of α then moves the parameters by αc at most. c = None is no clipping, and adds nothing to a graph.
    Lengths beyond the largest number of the dtype are clipped too; a p that is not finite stays so.

    Raises:
        ValueError: c <= 0.

    >>> direction, pull_back = curb(1.0)(torch.tensor([3.0, 4.0]))
    >>> direction, pull_back(torch.tensor([1.0, 0.0]))
    (tensor([0.6000, 0.8000]), tensor([ 0.1280, -0.0960]))
    """
    if clip_norm is None:
        return lambda p: (p, lambda h: h)
    if clip_norm <= 0:
        raise ValueError(f"inner_clip_norm must be positive, got {clip_norm}")

    def clip(p: Tensor) -> tuple[Tensor, PullBack]:
        largest = p.abs().amax().clamp_min(torch.finfo(p.dtype).tiny)
        scaled = p / largest  # whose squares neither overflow nor vanish
        length = torch.linalg.vector_norm(scaled).clamp_min(0.5)  # it is at least 1, but at p = 0
        unit, within = scaled / length, length <= clip_norm / largest

        def pull_back(h: Tensor) -> Tensor:
            return torch.where(within, h, (clip_norm / largest / length) * (h - unit * (unit @ h)))

        return torch.where(within, p, clip_norm * unit), pull_back

    return clip


def inner_gradient(
    loss: Loss, order: Order, hessian_set: HessianSet = "support", clip_norm: float | None = None
) -> InnerGradient:
    """(w, α, S) -> p = ∇l(w;S1), and h -> (I − α∇²l(w;S2)) h (the identity in first order).

    S1 = S2 = S, or with hessian_set = "half" the first and the second half of S. Costs one gradient; every
    pull-back costs one Hessian-vector product (reverse mode), which shares the gradient's forward pass where
    S1 = S2.

    With `clip_norm` the step is along the clipped p, and its pull-back is h -> h − α∇²l(w;S2) J h with the
    clip's Jacobian J at ∇l(w;S1): exact where S1 = S2.
    """
    clip = curb(clip_norm)

    def first_order(params: Tensor, _alpha: Tensor, support: Batch[Tensor]) -> tuple[Tensor, PullBack]:
        return clip(grad(loss)(params, *support))[0], lambda h: h

    def second_order(params: Tensor, alpha: Tensor, support: Batch[Tensor]) -> tuple[Tensor, PullBack]:
        if hessian_set == "support":
            gradient, hessian = gradient_and_hessian(loss, params, support)
        else:
            first, other = _halves(support)
            gradient = grad(loss)(params, *first)
            hessian = gradient_and_hessian(loss, params, other)[1]
        direction, clip_back = clip(gradient)
        return direction, lambda h: h - alpha * hessian(clip_back(h))

    return first_order if order == "first" else second_order


def gradient_and_hessian(loss: Loss, params: Tensor, batch: Batch[Tensor]) -> tuple[Tensor, PullBack]:
    """∇l(w;S), and h -> ∇²l(w;S) h by reverse mode, which shares its forward pass.

    >>> cube = lambda w, x, y: (w**3).sum()
    >>> gradient, hessian = gradient_and_hessian(cube, torch.tensor([2.0]), Batch(*torch.zeros(2, 1)))
    >>> gradient, hessian(torch.tensor([1.0]))
    (tensor([12.]), tensor([12.]))
    """
    gradient, pull_back, *_ = vjp(lambda w: grad(loss)(w, *batch), params)
    return gradient, lambda h: pull_back(h)[0]


def adapt(
    loss: Loss, steps: int = 1, clip_norm: float | None = None
) -> Callable[[State, Batch[Tensor]], Tensor]:
    """A learner's `adapt`: `steps` gradient steps of α on the support set, from w, each clipped."""
    clip = curb(clip_norm)

    def adapted(state: State, support: Batch[Tensor]) -> Tensor:
        params = state.params
        for _ in range(steps):
            params = params - state.inner_lr * clip(grad(loss)(params, *support))[0]
        return params

    return adapted


def outer_step(outer: Outer, state: State, gradient: Tensor) -> tuple[State, Tensor, Tensor]:
    """The state after `outer` moved w along `gradient` (d,), ‖gradient‖ and ‖w' − w‖."""
    params, slots = outer.update(state.params, gradient, state.outer, state.meta_lr)
    return (
        state._replace(params=params, outer=slots),
        torch.linalg.vector_norm(gradient),
        torch.linalg.vector_norm(params - state.params),
    )


def _halves(support: Batch[Tensor]) -> tuple[Batch[Tensor], Batch[Tensor]]:
    middle = (support.x.shape[0] + 1) // 2
    if support.x.shape[0] < 2:
        raise ValueError('hessian_set = "half" needs at least 2 support examples, got 1')
    return Batch(support.x[:middle], support.y[:middle]), Batch(support.x[middle:], support.y[middle:])
