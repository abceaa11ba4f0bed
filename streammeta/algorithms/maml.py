"""MAML and its relatives without memory: N-step MAML, ANIL, Reptile.

All adapt by gradient steps from w and keep nothing of a task.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.split import Split
from streammeta.algorithms.steps import (
    HessianSet,
    InnerGradient,
    Order,
    PullBack,
    adapt,
    curb,
    first_state,
    gradient_and_hessian,
    inner_gradient,
    outer_step,
)
from streammeta.events import Batch, Episode


def maml(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int = 1,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn an initialisation that adapts to a task in N gradient steps.

        φ_0 = w,  φ_{j+1} = φ_j − α∇l(φ_j;S1)
        v_i ← (I − αH_0)…(I − αH_{N−1}) ∇l(φ_N;S3),  H_j = ∇²l(φ_j;S2);   w ← outer(w, mean_i v_i)

    With N = 1 this is MOML at β = 1, bit for bit.

    Args:
        loss: Mean loss of one task; twice differentiable for second order.
        outer: Moves w along the mean of v_i.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        inner_steps: N >= 0, all on the same support set; 0 is training on the query set.
        order: "first" takes v_i = ∇l(φ_N;S3) (FO-MAML).
        hessian_set: As for `moml`: S2 is the "support" set again, or its second "half" while S1 is the first.
        inner_clip_norm: As for `moml`, in every step.

    Returns:
        A learner without memory. An update costs N + 1 gradients and N Hessian-vector products (none in first
        order), and keeps what N products need until they are taken.

    Raises:
        ValueError: a rate or `inner_steps` is negative.

    Example:
        On l(w) = ½(w − x)² the meta-gradient is (1 − α)^N (φ_N − y) = ¼ · (0.5 + 2).

        >>> from streammeta.algorithms.outer import sgd
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = maml(half_square, sgd(), inner_lr=0.5, meta_lr=1.0, inner_steps=2)
        >>> at = lambda value: Batch(torch.full((1, 1, 1), value), torch.zeros(1, 1, 1))
        >>> state = learner.init(torch.tensor([2.0]))
        >>> after, _, _ = learner.update(
        ...     state, torch.zeros(1, 0), torch.zeros(1), Episode(at(0.0), at(-2.0)))
        >>> state.params - after.params
        tensor([0.6250])

    Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, Algorithm 1.
    """
    check_steps(inner_steps)
    direction = unrolled(loss, inner_gradient(loss, order, hessian_set, inner_clip_norm), inner_steps)
    adapted = adapt(loss, inner_steps, inner_clip_norm)
    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=adapted)


def anil(
    loss: Loss,
    outer: Outer,
    *,
    split: Split,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int = 1,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """MAML whose inner loop moves the head alone (almost no inner loop).

        φ_{j+1} = φ_j − αM∇l(φ_j;S),  M = 1 on the head, 0 on the body
        v_i ← (I − αH_0 M)…(I − αH_{N−1} M) ∇l(φ_N;Q);   w ← outer(w, mean_i v_i)

    Back-propagated through all N steps; the body learns through the query loss and the products H_j M.

    Args:
        loss: Mean loss of one task, twice differentiable.
        outer: Moves w along the mean of v_i.
        split: Which parameters are the head.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        inner_steps: N >= 0, all on the same support set.
        inner_clip_norm: As for `moml`, in every step; p is M∇l(φ_j;S), the head's part alone.

    Returns:
        A learner without memory; an update costs what MAML's does (gradients are taken whole, then masked).

    Raises:
        ValueError: a rate or `inner_steps` is negative.

    Source: Raghu, Raghu, Bengio, Vinyals 2020, arXiv:1909.09157, section 4. [recalled]
    """
    check_steps(inner_steps)
    clip = curb(inner_clip_norm)

    def mask_of(params: Tensor) -> Tensor:
        body, head = split.parts(params)
        return split.join(torch.zeros_like(body), torch.ones_like(head))

    def inner(params: Tensor, alpha: Tensor, support: Batch[Tensor]) -> tuple[Tensor, PullBack]:
        mask = mask_of(params)
        gradient, hessian = gradient_and_hessian(loss, params, support)
        direction, clip_back = clip(mask * gradient)
        return direction, lambda h: h - alpha * hessian(mask * clip_back(h))

    def adapted(state: State, support: Batch[Tensor]) -> Tensor:
        mask, params = mask_of(state.params), state.params
        for _ in range(inner_steps):
            params = params - state.inner_lr * clip(mask * grad(loss)(params, *support))[0]
        return params

    direction = unrolled(loss, inner, inner_steps)
    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=adapted)


def reptile(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int = 2,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Move the initialisation towards the parameters that K plain gradient steps reach.

        φ_0 = w,  φ_{j+1} = φ_j − α∇l(φ_j; D_j),   w ← outer(w, mean_i (w − φ_K))

    The inner loop runs through the event's mini-batches in turn: D_0 is the support set, D_1 the query set,
    D_2 the support set again. The paper's w ← w + ε mean_i (φ_K − w) is `outer` = SGD without momentum and
    ε = η; with momentum μ the long-run ε is η/(1 − μ). The direction w − φ_K is about αK times a gradient, so
    an η that moves w as fast as MAML's is 1/(αK) times larger: 0.1 to 1, not 0.001.

    Args:
        loss: Mean loss of one task.
        outer: Moves w along the mean of w − φ_K.
        inner_lr: α > 0; at 0 nothing is learned.
        meta_lr: ε, handed to `outer`.
        inner_steps: K >= 1; with 1 this is plain training on the support sets.
        inner_clip_norm: As for `moml`, in every step: ‖w − φ_K‖ <= αKc.

    Returns:
        A learner without memory. An update costs K gradients, and K − 1 further ones for `loss_adapted`,
        which is measured after K steps on the support set alone: the query set judges it unseen.

    Raises:
        ValueError: a rate is negative, or `inner_steps` < 1.

    Source: Nichol, Achiam, Schulman 2018, arXiv:1803.02999, Algorithms 1 and 2. [recalled]
    """
    if inner_steps < 1:
        raise ValueError(f"inner_steps must be at least 1, got {inner_steps}")
    clip, reached = curb(inner_clip_norm), adapt(loss, inner_steps, inner_clip_norm)

    def direction(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        params = state.params
        for j in range(inner_steps):
            params = params - state.inner_lr * clip(grad(loss)(params, *episode[j % 2]))[0]
        return state.params - params, reached(state, episode.support)

    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=reached)


Direction = Callable[[State, Episode[Tensor]], tuple[Tensor, Tensor]]
"""(state, one task's episode) -> what moves w (d,), and the parameters after adaptation (d,)."""


def unrolled(loss: Loss, inner: InnerGradient, inner_steps: int) -> Direction:
    """The gradient of l(φ_N;Q) in w by the chain rule, backwards through N inner steps."""

    def direction(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        params, pull_backs = state.params, []
        for _ in range(inner_steps):
            gradient, pull_back = inner(params, state.inner_lr, episode.support)
            params = params - state.inner_lr * gradient
            pull_backs.append(pull_back)
        meta_gradient = grad(loss)(params, *episode.query)
        for pull_back in reversed(pull_backs):
            meta_gradient = pull_back(meta_gradient)
        return meta_gradient, params

    return direction


def without_memory(
    loss: Loss,
    direction: Direction,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    adapted: Callable[[State, Batch[Tensor]], Tensor],
) -> MetaLearner:
    """The learner that moves w along the mean of `direction` over the tasks and keeps nothing of a task."""

    def task(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        gradient, target = direction(state, episode)
        return gradient, loss(state.params, *episode.query), loss(target, *episode.query)

    def update(
        state: State, memory: Tensor, _seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        gradients, at_meta, at_target = per_task(lambda episode: task(state, episode))(episode)
        after, gradient_norm, update_norm = outer_step(outer, state, gradients.mean(0))
        unknown = torch.full_like(at_meta, torch.nan)
        return after, memory, Info(at_meta, at_target, unknown, gradient_norm, update_norm, unknown)

    return MetaLearner(first_state(outer, inner_lr, meta_lr), update, adapted, memory_size=0)


def check_steps(inner_steps: int) -> None:
    """Refuse a negative number of inner steps with a ValueError."""
    if inner_steps < 0:
        raise ValueError(f"inner_steps must not be negative, got {inner_steps}")
