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


def inner_gradient(loss: Loss, order: Order, hessian_set: HessianSet = "support") -> InnerGradient:
    """(w, α, S) -> ∇l(w;S1), and h -> (I − α∇²l(w;S2)) h (the identity in first order).

    S1 = S2 = S, or with hessian_set = "half" the first and the second half of S. Costs one gradient; every
    pull-back costs one Hessian-vector product (reverse mode), which shares the gradient's forward pass where
    S1 = S2.
    """

    def first_order(params: Tensor, _alpha: Tensor, support: Batch[Tensor]) -> tuple[Tensor, PullBack]:
        return grad(loss)(params, *support), lambda h: h

    def second_order(params: Tensor, alpha: Tensor, support: Batch[Tensor]) -> tuple[Tensor, PullBack]:
        if hessian_set == "support":
            gradient, hessian = gradient_and_hessian(loss, params, support)
        else:
            first, other = _halves(support)
            gradient = grad(loss)(params, *first)
            hessian = gradient_and_hessian(loss, params, other)[1]
        return gradient, lambda h: h - alpha * hessian(h)

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


def adapt(loss: Loss, steps: int = 1) -> Callable[[State, Batch[Tensor]], Tensor]:
    """A learner's `adapt`: `steps` gradient steps of α on the support set, from w."""

    def adapted(state: State, support: Batch[Tensor]) -> Tensor:
        params = state.params
        for _ in range(steps):
            params = params - state.inner_lr * grad(loss)(params, *support)
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
