"""Conjugate gradients with a fixed number of steps, so that the step has one graph whatever the values."""

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradient(
    product: Callable[[Tensor], Tensor],
    target: Tensor,
    start: Tensor | None = None,
    *,
    steps: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Solve H v = b for a symmetric positive definite H, known by its products alone.

        r = b − Hv, p = r;  each step:  a = rᵀr / pᵀHp;  v ← v + a p;  r ← r − a Hp;  p ← r + (r'ᵀr'/rᵀr) p

    It comes to rest (further steps change nothing) once ‖r‖ ≤ tolerance, and where pᵀHp ≤ 0: H is not
    positive definite there, and v is what was found until then.

    Args:
        product: p (q,) -> H p.
        target: b, shape (q,).
        start: First v, shape (q,); zero when absent.
        steps: Products taken, and one more with a `start`; all are computed, at rest or not.
        tolerance: Norm of the residual that is small enough, in units of b.

    Returns:
        v, shape (q,); exact after q steps but for rounding. Keeps four vectors whatever `steps`.

    Source: Hestenes, Stiefel 1952; Nocedal, Wright, Numerical Optimization, Algorithms 5.2 and 7.1.

    >>> matrix = torch.tensor([[2.0, 1.0], [1.0, 3.0]])
    >>> conjugate_gradient(lambda p: matrix @ p, torch.tensor([4.0, 7.0]), steps=2)
    tensor([1.0000, 2.0000])
    """
    v = torch.zeros_like(target) if start is None else start
    r = target if start is None else target - product(start)
    p, rr = r, r @ r
    for _ in range(steps):
        hp = product(p)
        curvature = p @ hp
        going = (rr > tolerance**2) & (curvature > 0)
        one = torch.ones_like(rr)
        a = torch.where(going, rr / torch.where(going, curvature, one), 0 * one)
        v, r = v + a * p, r - a * hp
        after = r @ r
        p = torch.where(going, r + (after / torch.where(going, rr, one)) * p, p)
        rr = torch.where(going, after, rr)
    return v
