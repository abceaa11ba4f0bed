"""FO-B-MAML: the meta-gradient of the proximal bilevel problem from first-order inner solves alone.

    F(w) = (1/n) Σ f_i(φ_i(w)),   φ_{i,s}(w) = argmin_φ ĝ_i(φ) + s f_i(φ) + (λ/2)‖φ − w‖²,   φ_i = φ_{i,0}

∇F_i(w) = −λ dφ_{i,s}/ds at s = 0: a difference quotient of solutions replaces every second derivative.
Source: Chayti, Jaggi 2024, arXiv:2409.03682 [derived from its abstract; checked numerically].
"""

from typing import Literal

from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Loss, MetaLearner, State
from streammeta.algorithms.maml import without_memory
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.proximal import check_proximal, proximal_adapt, proximal_steps
from streammeta.algorithms.steps import curb
from streammeta.events import Episode

Difference = Literal["forward", "symmetric"]


def fo_b_maml(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int,
    lambda_: float,
    nu: float,
    difference: Difference = "symmetric",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn the point that tasks are held near, without a Hessian and without a memory per task.

        φ_s: K steps φ ← φ − α[∇ĝ(φ) + s∇f(φ) + λ(φ − w)] from w
        forward:    h_i = (λ/ν)(φ_0 − φ_ν)         error O(ν), O(δ^½) with solver error δ
        symmetric:  h_i = (λ/2ν)(φ_{−ν} − φ_ν)     error O(ν²), O(δ^⅔)
        w ← outer(w, mean_i h_i)

    ĝ is the loss on the support set, f on the query set. Every sign starts at w and sees the same whole sets
    in every step; were they redrawn, the error would grow as δ/ν.

    Args:
        loss: Mean loss of one task; once differentiable.
        outer: Moves w along the mean of h_i; `sngdm` suits the objective, whose smoothness grows with ‖∇F‖.
        inner_lr: α >= 0, the inner step; α(L + λ) < 2 converges.
        meta_lr: Handed to `outer`.
        inner_steps: K >= 1.
        lambda_: λ > 0, the pull towards w; above the most negative curvature of ĝ.
        nu: ν > 0, the size of the perturbation; symmetric needs ν below (λ + least curvature of ĝ) / L_f.
            Rounding adds λ·ε·‖φ‖/ν, ε = 1e-7 in float32.
        difference: "forward", or "symmetric".
        inner_clip_norm: c > 0; every inner step of every sign takes its bracket p as p · min(1, c/‖p‖). A
            clip that is at rest at the solutions leaves them, and h_i, as they are; None clips nothing.

    Returns:
        A learner without memory. An update costs 3K gradients forward, 5K symmetric (K of them only for the
        loss after adaptation), and two forward passes; it keeps a few vectors whatever K.

    Raises:
        ValueError: a setting is out of range.

    Example:
        On l(w) = ½(w − x)² with λ = 1 and α = ½, support at 0, query at 1, the inner problem is solved in one
        step, φ = w/2, and ∇F = ½(w/2 − 1) = −0.25 at w = 1.

        >>> import torch
        >>> from streammeta.algorithms.outer import sgd
        >>> from streammeta.events import Batch
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = fo_b_maml(half_square, sgd(), inner_lr=0.5, meta_lr=1.0, inner_steps=20,
        ...                     lambda_=1.0, nu=0.01)
        >>> at = lambda value: Batch(*torch.full((2, 1, 1, 1), value))
        >>> state = learner.init(torch.tensor([1.0]))
        >>> after, _, _ = learner.update(
        ...     state, torch.zeros(1, 0), torch.zeros(1), Episode(at(0.0), at(1.0)))
        >>> round((state.params - after.params).item(), 3)
        -0.25
    """
    check_proximal(lambda_, inner_steps)
    if nu <= 0:
        raise ValueError(f"nu must be positive, got {nu}")

    clip = curb(inner_clip_norm)

    def solve(state: State, episode: Episode[Tensor], sign: int) -> Tensor:
        def gradient(point: Tensor) -> Tensor:
            support: Tensor = grad(loss)(point, *episode.support)
            query: Tensor = grad(loss)(point, *episode.query)
            return support + sign * nu * query

        return proximal_steps(
            gradient, state.params, state.inner_lr, lambda_=lambda_, steps=inner_steps, clip=clip
        )

    def direction(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        solution, plus = adapted(state, episode.support), solve(state, episode, 1)
        if difference == "forward":
            return (lambda_ / nu) * (solution - plus), solution
        return (lambda_ / (2 * nu)) * (solve(state, episode, -1) - plus), solution

    adapted = proximal_adapt(loss, lambda_=lambda_, steps=inner_steps, clip=clip)
    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=adapted)
