"""iMAML: the meta-gradient of the proximal bilevel problem by implicit differentiation.

    F(w) = (1/n) Σ f_i(φ_i(w)),   φ_i(w) = argmin_φ ĝ_i(φ) + (λ/2)‖φ − w‖²

Source: Rajeswaran, Finn, Kakade, Levine 2019, arXiv:1909.04630, Algorithms 1 and 2.
"""

from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Loss, MetaLearner, State
from streammeta.algorithms.conjugate_gradient import conjugate_gradient
from streammeta.algorithms.maml import without_memory
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.proximal import check_proximal, proximal_adapt
from streammeta.algorithms.steps import curb, gradient_and_hessian
from streammeta.events import Episode


def imaml(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int,
    lambda_: float,
    cg_steps: int,
    cg_tolerance: float = 1e-10,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn the point that tasks are held near; no memory, and no history of the inner steps.

        φ: K steps φ ← φ − α[∇ĝ(φ) + λ(φ − w)] from w
        h_i: (∇²ĝ(φ)/λ + I) h_i = ∇f(φ) by N conjugate-gradient steps
        w ← outer(w, mean_i h_i)

    ĝ is the loss on the support set, f on the query set.

    Args:
        loss: Mean loss of one task; twice differentiable.
        outer: Moves w along the mean of h_i; clipped, for h_i does not see the inner steps and can lead to
            where they diverge.
        inner_lr: α >= 0, the inner step; α(L + λ) < 2 converges.
        meta_lr: Handed to `outer`.
        inner_steps: K >= 1.
        lambda_: λ > 0; above the most negative curvature of ĝ, or conjugate gradients stop where they are.
        cg_steps: N >= 1.
        cg_tolerance: Norm of the residual at which they rest, in units of the gradient.
        inner_clip_norm: c > 0; every inner step takes its bracket p as p · min(1, c/‖p‖). h_i is of the
            solution, which a clip that is at rest there leaves as it is; None clips nothing.

    Returns:
        A learner without memory. An update costs K + 1 gradients, N Hessian-vector products and two forward
        passes; it keeps a few vectors and one graph of the loss, whatever K and N.

    Raises:
        ValueError: a setting is out of range.
    """
    check_proximal(lambda_, inner_steps)
    if cg_steps < 1:
        raise ValueError(f"cg_steps must be at least 1, got {cg_steps}")

    def direction(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        point = adapted(state, episode.support)
        _, hessian = gradient_and_hessian(loss, point, episode.support)
        implicit = conjugate_gradient(
            lambda p: hessian(p) / lambda_ + p,
            grad(loss)(point, *episode.query),
            steps=cg_steps,
            tolerance=cg_tolerance,
        )
        return implicit, point

    adapted = proximal_adapt(loss, lambda_=lambda_, steps=inner_steps, clip=curb(inner_clip_norm))
    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=adapted)
