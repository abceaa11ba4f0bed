"""Memory-based MAML: MOML v1, and MAML as the same step without memory.

    min_w F(w) = (1/n) Σ_i L_i(w − α∇L_i(w))

Plugging a mini-batch into the inner step is biased whatever the number of iterations. A memory u_i that
tracks w − α∇L_i(w) with a moving average removes the bias at constant batch and constant number of tasks.
Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor
from torch.func import grad, vjp

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.outer import Outer
from streammeta.events import Batch, Episode

Order = Literal["first", "second"]
HessianSet = Literal["support", "half"]


def moml(
    loss: Loss,
    outer: Outer,
    *,
    dimension: int,
    inner_lr: float,
    meta_lr: float,
    beta: float,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    outer_scale: Literal["none", "beta"] = "none",
) -> MetaLearner:
    """Learn an initialisation with one memory per task.

        u_i ← (1−β) u_i + β (w − α∇l(w;S1))           only the arriving task's memory moves
        v_i ← ∇l(u_i;S3) − α ∇²l(w;S2) ∇l(u_i;S3)     first order: without the second term
        w   ← outer(w, mean_i v_i)

    S1 is the support set, S3 the query set. A first visit takes β = 1.

    Args:
        loss: Mean loss of one task; twice differentiable for second order.
        outer: Moves w along the mean of v_i.
        dimension: d, the number of parameters and of a memory.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        beta: Weight of the new value in the memory, in (0, 1]; 1 is MAML.
        order: "first" drops the Hessian term (no S2).
        hessian_set: S2: the "support" set again (biased, stable), or one "half" of it while S1 is the other
            (independent, unbiased, diverges at large α; needs two support examples).
        outer_scale: "beta" multiplies v_i by the memory rate, as the authors' public code does by
            differentiating through the moving average. For reproducing its numbers only.

    Returns:
        A learner with d numbers of memory per task. An update costs two gradients, one Hessian-vector
        product in second order, and three forward passes for the prequential losses.

    Raises:
        ValueError: a rate is out of range.

    Example:
        On l(w) = ½(w − x)² with α = ½, β = 1: u = w − ½(w − x) = 1, v = (1 − ½)(u − y) = ½ · 3 = 1.5.

        >>> from streammeta.algorithms.outer import sgd
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = moml(half_square, sgd(), dimension=1, inner_lr=0.5, meta_lr=0.1, beta=1.0)
        >>> at = lambda value: Batch(torch.full((1, 1, 1), value), torch.zeros(1, 1, 1))
        >>> state = learner.init(torch.tensor([2.0]))
        >>> after, memory, info = learner.update(
        ...     state, torch.zeros(1, 1), torch.zeros(1), Episode(at(0.0), at(-2.0)))
        >>> memory, state.params - after.params
        (tensor([[1.]]), tensor([0.1500]))
    """
    if not 0 < beta <= 1:
        raise ValueError(f"beta must be in (0, 1], got {beta}")
    inner_step = _inner_step(loss, order, hessian_set)

    def task(
        params: Tensor, alpha: Tensor, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        target, pull_back = inner_step(params, alpha, episode.support)
        rate = torch.where(seen > 0, torch.full_like(seen, beta), torch.ones_like(seen))
        moved = torch.lerp(memory, target, rate)
        direction = pull_back(grad(loss)(moved, *episode.query))
        before = torch.where(seen > 0, loss(memory, *episode.query), torch.nan)
        return (
            moved,
            direction * rate if outer_scale == "beta" else direction,
            loss(params, *episode.query),
            loss(target, *episode.query),
            before,
            torch.linalg.vector_norm(moved - target),
        )

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        moved, directions, at_meta, adapted, at_memory, error = per_task(
            lambda memory, seen, episode: task(state.params, state.inner_lr, memory, seen, episode)
        )(memory, seen, episode)
        after, gradient_norm, update_norm = _outer_step(outer, state, directions)
        return after, moved, Info(at_meta, adapted, at_memory, gradient_norm, update_norm, error)

    return MetaLearner(_init(outer, inner_lr, meta_lr), update, _adapt(loss), dimension)


def maml(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    order: Order = "second",
    hessian_set: HessianSet = "support",
) -> MetaLearner:
    """Learn an initialisation that adapts to a task in one gradient step; no memory.

        v_i ← (I − α∇²l(w;S2)) ∇l(w − α∇l(w;S1); S3);   w ← outer(w, mean_i v_i)

    MOML at β = 1, bit for bit. Arguments as for `moml`.
    Source: Finn, Abbeel, Levine 2017, arXiv:1703.03400, Algorithm 1.
    """
    inner_step = _inner_step(loss, order, hessian_set)

    def task(params: Tensor, alpha: Tensor, episode: Episode[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        target, pull_back = inner_step(params, alpha, episode.support)
        direction = pull_back(grad(loss)(target, *episode.query))
        return direction, loss(params, *episode.query), loss(target, *episode.query)

    def update(
        state: State, memory: Tensor, _seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        directions, at_meta, adapted = per_task(lambda episode: task(state.params, state.inner_lr, episode))(
            episode
        )
        after, gradient_norm, update_norm = _outer_step(outer, state, directions)
        unknown = torch.full_like(at_meta, torch.nan)
        return after, memory, Info(at_meta, adapted, unknown, gradient_norm, update_norm, unknown)

    return MetaLearner(_init(outer, inner_lr, meta_lr), update, _adapt(loss), memory_size=0)


InnerStep = Callable[[Tensor, Tensor, Batch[Tensor]], tuple[Tensor, Callable[[Tensor], Tensor]]]


def _inner_step(loss: Loss, order: Order, hessian_set: HessianSet) -> InnerStep:
    """(w, α, S) -> w − α∇l(w;S1), and h -> (I − α∇²l(w;S2)) h (identity in first order)."""

    def first_order(
        params: Tensor, alpha: Tensor, support: Batch[Tensor]
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return params - alpha * grad(loss)(params, *support), lambda h: h

    def second_order(
        params: Tensor, alpha: Tensor, support: Batch[Tensor]
    ) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        if hessian_set == "support":
            gradient, hessian = _with_pull_back(loss, params, support)
        else:
            first, other = _halves(support)
            gradient = grad(loss)(params, *first)
            hessian = _with_pull_back(loss, params, other)[1]
        return params - alpha * gradient, lambda h: h - alpha * hessian(h)

    return first_order if order == "first" else second_order


def _with_pull_back(
    loss: Loss, params: Tensor, batch: Batch[Tensor]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """∇l(w;S), and h -> ∇²l(w;S) h, which shares its forward pass."""
    gradient, pull_back, *_ = vjp(lambda w: grad(loss)(w, *batch), params)
    return gradient, lambda h: pull_back(h)[0]


def _halves(support: Batch[Tensor]) -> tuple[Batch[Tensor], Batch[Tensor]]:
    middle = (support.x.shape[0] + 1) // 2
    if support.x.shape[0] < 2:
        raise ValueError('hessian_set = "half" needs at least 2 support examples, got 1')
    return Batch(support.x[:middle], support.y[:middle]), Batch(support.x[middle:], support.y[middle:])


def _init(outer: Outer, inner_lr: float, meta_lr: float) -> Callable[[Tensor], State]:
    if inner_lr < 0 or meta_lr < 0:
        raise ValueError(f"learning rates must not be negative, got inner {inner_lr}, meta {meta_lr}")
    return lambda params: State(
        params, outer.init(params), {}, params.new_tensor(inner_lr), params.new_tensor(meta_lr)
    )


def _adapt(loss: Loss) -> Callable[[State, Batch[Tensor]], Tensor]:
    return lambda state, support: state.params - state.inner_lr * grad(loss)(state.params, *support)


def _outer_step(outer: Outer, state: State, directions: Tensor) -> tuple[State, Tensor, Tensor]:
    """The state after `outer` moved w along the mean of `directions` (B, d), and the two norms."""
    gradient = directions.mean(0)
    params, slots = outer.update(state.params, gradient, state.outer, state.meta_lr)
    return (
        state._replace(params=params, outer=slots),
        torch.linalg.vector_norm(gradient),
        torch.linalg.vector_norm(params - state.params),
    )
