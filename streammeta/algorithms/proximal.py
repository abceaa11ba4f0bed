"""The proximal inner problem that FO-B-MAML and iMAML share: a task's parameters, held near w.

φ(w) = argmin_φ ĝ(φ) + (λ/2)‖φ − w‖²
"""

from collections.abc import Callable

from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Loss, State
from streammeta.algorithms.steps import Curb
from streammeta.events import Batch


def proximal_steps(
    gradient: Callable[[Tensor], Tensor],
    anchor: Tensor,
    alpha: Tensor,
    *,
    lambda_: float,
    steps: int,
    clip: Curb,
) -> Tensor:
    """K steps φ ← φ − α[∇ĝ(φ) + λ(φ − w)] from φ = w = `anchor` (d,); one gradient and no history a step.

    They shrink the error by max |1 − α(h + λ)| each, over the curvatures h of ĝ. `clip` shortens the whole
    bracket, which is 0 at the solution: it moves no fixed point and only slows the way there, so that with
    few steps the solution may be less near.
    """
    point = anchor
    for _ in range(steps):
        point = point - alpha * clip(gradient(point) + lambda_ * (point - anchor))[0]
    return point


def proximal_adapt(
    loss: Loss, *, lambda_: float, steps: int, clip: Curb
) -> Callable[[State, Batch[Tensor]], Tensor]:
    """A learner's `adapt`: K proximal steps on the support set, from w."""
    return lambda state, support: proximal_steps(
        lambda point: grad(loss)(point, *support),
        state.params,
        state.inner_lr,
        lambda_=lambda_,
        steps=steps,
        clip=clip,
    )


def check_proximal(lambda_: float, inner_steps: int) -> None:
    """Refuse settings of the inner problem that are out of range.

    Raises:
        ValueError: λ <= 0, or K < 1.
    """
    if lambda_ <= 0:
        raise ValueError(f"lambda must be positive, got {lambda_}")
    if inner_steps < 1:
        raise ValueError(f"inner_steps must be at least 1, got {inner_steps}")
