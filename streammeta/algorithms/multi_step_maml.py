"""Multi-step MAML: exact meta-gradients of N inner steps, on a fixed support set or on fresh data a step.

    w_0 = w,   w_{j+1} = w_j − α∇l(w_j; S_j),   j = 0 … N−1
    Ĝ_i = (I − αH_0)(I − αH_1) … (I − αH_{N−1}) ∇l(w_N; T),   H_j = ∇²l(w_j; D_j)

Source: Ji, Yang, Liang, JMLR 23(1) 2022, arXiv:2002.07836.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.meta_step import adaptive_rate, first_slots
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import Curb, adapt, curb, first_state, gradient_and_hessian, outer_step
from streammeta.events import Batch, Episode

Data = Literal["finite_sum", "resampling"]
MetaStep = Literal["fixed", "adaptive"]


def multi_step_maml(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int,
    data: Data = "finite_sum",
    meta_step: MetaStep = "fixed",
    smoothness: float | None = None,
    hessian_lipschitz: float | None = None,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn an initialisation that adapts in N steps, with the theory's data and step sizes.

    The product is applied backwards: r = ∇l(w_N;T);  for j = N−1 … 0: r ← r − α H_j r.

    Args:
        loss: Mean loss of one task; twice differentiable.
        outer: Moves w along the mean of Ĝ_i.
        inner_lr: α >= 0; ∝ 1/N by theory, `meta_step.inner_rate` gives 1/(8NL).
        meta_lr: η, handed to `outer`; with an adaptive meta step `outer` gets η/L̂, and η is 1/C_β
            (by theory 1/100 when resampling, 1/80 for a finite sum).
        inner_steps: N >= 0; 0 is training on the query set.
        data: "finite_sum" takes the whole support set as every S_j and D_j. "resampling" cuts it into 2N
            equal pieces S_0, D_0, S_1, …; T is the query set in both.
        meta_step: "adaptive" divides η by L̂, see `meta_step.adaptive_rate`.
        smoothness: L of an adaptive meta step; when absent, a running estimate from below.
        hessian_lipschitz: ρ of an adaptive meta step; likewise.
        inner_clip_norm: As for `moml`, in every step: p is ∇l(w_j; S_j), and the product takes
            r ← r − α H_j J_j r with the clip's Jacobian J_j at that p and H_j on D_j. The theory of the step
            sizes knows no clipping.

    Returns:
        A learner without memory. An update costs N + 1 gradients, N Hessian-vector products (and two more
        and a gradient, with an adaptive step) and two forward passes; it keeps N points of d numbers.
        `update` raises ValueError when a support set cannot be cut.

    Raises:
        ValueError: a setting is out of range.

    Example:
        On l(w) = ½(w − x)² with α = ½, N = 2 and all examples at 0: Ĝ = ½ · ½ · w/4 = 0.25 at w = 4.

        >>> from streammeta.algorithms.outer import sgd
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = multi_step_maml(half_square, sgd(), inner_lr=0.5, meta_lr=1.0, inner_steps=2)
        >>> sets = Batch(torch.zeros(1, 4, 1), torch.zeros(1, 4, 1))
        >>> state = learner.init(torch.tensor([4.0]))
        >>> after, _, _ = learner.update(state, torch.zeros(1, 0), torch.zeros(1), Episode(sets, sets))
        >>> state.params - after.params
        tensor([0.2500])
    """
    if inner_steps < 0:
        raise ValueError(f"inner_steps must not be negative, got {inner_steps}")
    adaptive = meta_step == "adaptive"
    clip = curb(inner_clip_norm)

    def task(params: Tensor, alpha: Tensor, episode: Episode[Tensor]) -> tuple[Tensor, ...]:
        pieces = _pieces(episode.support, inner_steps, data)
        direction, end = meta_gradient(loss, params, alpha, pieces, episode.query, clip)
        return direction, end, loss(params, *episode.query), loss(end, *episode.query)

    def update(
        state: State, memory: Tensor, _seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        directions, ends, at_meta, adapted = per_task(
            lambda episode: task(state.params, state.inner_lr, episode)
        )(episode)
        rate, slots = rate_of(state, ends, episode)
        after, gradient_norm, update_norm = outer_step(
            outer, state._replace(meta_lr=rate), directions.mean(0)
        )
        after = after._replace(meta_lr=state.meta_lr, slots=slots)
        unknown = torch.full_like(at_meta, torch.nan)
        return after, memory, Info(at_meta, adapted, unknown, gradient_norm, update_norm, unknown)

    rate_of = adaptive_rate(loss, inner_steps, smoothness, hessian_lipschitz) if adaptive else _fixed_rate
    init = first_state(outer, inner_lr, meta_lr, first_slots if adaptive else lambda _params: {})
    return MetaLearner(init, update, adapt(loss, inner_steps, inner_clip_norm), memory_size=0)


Piece = tuple[Batch[Tensor], Batch[Tensor]]
"""S_j and D_j of one inner step."""


def meta_gradient(
    loss: Loss,
    params: Tensor,
    alpha: Tensor,
    pieces: Sequence[Piece],
    query: Batch[Tensor],
    clip: Curb,
) -> tuple[Tensor, Tensor]:
    """Ĝ (d,), and w_N (d,), where the inner steps end; keeps the N points, no graph of the steps.

    A clip that is not off keeps its N directions beside.
    """
    point, points = params, []
    for support, _ in pieces:
        direction, clip_back = clip(grad(loss)(point, *support))
        points.append((point, clip_back))
        point = point - alpha * direction
    product = grad(loss)(point, *query)
    for (at, clip_back), (_, batch) in zip(reversed(points), reversed(pieces), strict=True):
        product = product - alpha * gradient_and_hessian(loss, at, batch)[1](clip_back(product))
    return product, point


def _pieces(support: Batch[Tensor], steps: int, data: Data) -> list[Piece]:
    if data == "finite_sum":
        return [(support, support)] * steps
    size, rest = divmod(support.x.shape[0], 2 * steps) if steps else (1, 0)
    if rest or not size:
        raise ValueError(
            f'data = "resampling" with inner_steps = {steps} cuts the support set into {2 * steps} equal '
            f"pieces, got {support.x.shape[0]} examples; send a multiple of {2 * steps}"
        )
    cuts = [
        Batch(support.x[at : at + size], support.y[at : at + size]) for at in range(0, 2 * steps * size, size)
    ]
    return list(zip(cuts[::2], cuts[1::2], strict=True))


def _fixed_rate(
    state: State, _ends: Tensor, _episode: Episode[Tensor]
) -> tuple[Tensor, Mapping[str, Tensor]]:
    return state.meta_lr, state.slots
