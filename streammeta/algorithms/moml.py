"""Memory-based MAML: MOML v1, one memory per task that moves only when its task arrives.

    min_w F(w) = (1/n) Σ_i L_i(w − α∇L_i(w))

Plugging a mini-batch into the inner step is biased whatever the number of iterations. A memory u_i that
tracks w − α∇L_i(w) with a moving average removes the bias at constant batch and constant number of tasks.
Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import HessianSet, Order, adapt, first_state, inner_gradient, outer_step
from streammeta.events import Episode

OuterScale = Literal["none", "beta"]


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
    outer_scale: OuterScale = "none",
    inner_clip_norm: float | None = None,
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
        inner_clip_norm: c > 0; the inner step takes p = ∇l(w;S1) as p · min(1, c/‖p‖), and S2's Hessian
            meets the clip's Jacobian (`steps.curb`). None clips nothing.

    Returns:
        A learner with d numbers of memory per task. An update costs two gradients, one Hessian-vector
        product in second order, and three forward passes for the prequential losses.

    Raises:
        ValueError: a rate is out of range.

    Example:
        On l(w) = ½(w − x)² with α = ½, β = 1: u = w − ½(w − x) = 1, v = (1 − ½)(u − y) = ½ · 3 = 1.5.

        >>> from streammeta.algorithms.outer import sgd
        >>> from streammeta.events import Batch
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = moml(half_square, sgd(), dimension=1, inner_lr=0.5, meta_lr=0.1, beta=1.0)
        >>> at = lambda value: Batch(torch.full((1, 1, 1), value), torch.zeros(1, 1, 1))
        >>> state = learner.init(torch.tensor([2.0]))
        >>> after, memory, info = learner.update(
        ...     state, torch.zeros(1, 1), torch.zeros(1), Episode(at(0.0), at(-2.0)))
        >>> memory, state.params - after.params
        (tensor([[1.]]), tensor([0.1500]))
    """
    visit = visit_of(
        loss,
        beta=beta,
        order=order,
        hessian_set=hessian_set,
        outer_scale=outer_scale,
        inner_clip_norm=inner_clip_norm,
    )

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        visits = visit(state, memory, seen, episode)
        after, gradient_norm, update_norm = outer_step(outer, state, visits.direction.mean(0))
        return after, visits.memory, info_of(visits, gradient_norm, update_norm)

    return MetaLearner(
        first_state(outer, inner_lr, meta_lr),
        update,
        adapt(loss, clip_norm=inner_clip_norm),
        dimension,
        own_memory,
    )


class Visit(NamedTuple):
    """What an iteration finds for each of its tasks: fields with a leading axis B.

    Attributes:
        memory: u_i' (B, d).
        direction: v_i (B, d).
        loss_meta, loss_adapted, loss_memory, tracking_error: As in `Info`.
    """

    memory: Tensor
    direction: Tensor
    loss_meta: Tensor
    loss_adapted: Tensor
    loss_memory: Tensor
    tracking_error: Tensor


def visit_of(
    loss: Loss,
    *,
    beta: float,
    order: Order,
    hessian_set: HessianSet,
    outer_scale: OuterScale,
    inner_clip_norm: float | None,
) -> Callable[[State, Tensor, Tensor, Episode[Tensor]], Visit]:
    """(state, memory (B, d), seen (B,), episode) -> the next memories and the v_i; arguments as for `moml`.

    Raises:
        ValueError: `beta` is out of range.
    """
    check_beta(beta)
    inner = inner_gradient(loss, order, hessian_set, inner_clip_norm)

    def visit(params: Tensor, alpha: Tensor, memory: Tensor, seen: Tensor, episode: Episode[Tensor]) -> Visit:
        gradient, pull_back = inner(params, alpha, episode.support)
        target = params - alpha * gradient
        rate = torch.where(seen > 0, torch.full_like(seen, beta), torch.ones_like(seen))
        moved = torch.lerp(memory, target, rate)
        direction = pull_back(grad(loss)(moved, *episode.query))
        return Visit(
            memory=moved,
            direction=direction * rate if outer_scale == "beta" else direction,
            loss_meta=loss(params, *episode.query),
            loss_adapted=loss(target, *episode.query),
            loss_memory=torch.where(seen > 0, loss(memory, *episode.query), torch.nan),
            tracking_error=torch.linalg.vector_norm(moved - target),
        )

    return lambda state, memory, seen, episode: Visit(
        *per_task(lambda *task: visit(state.params, state.inner_lr, *task))(memory, seen, episode)
    )


def check_beta(beta: float) -> None:
    """Refuse a memory rate outside (0, 1] with a ValueError."""
    if not 0 < beta <= 1:
        raise ValueError(f"beta must be in (0, 1], got {beta}")


def info_of(visits: Visit, gradient_norm: Tensor, update_norm: Tensor) -> Info:
    """What a watcher wants to know of these visits."""
    return Info(
        visits.loss_meta,
        visits.loss_adapted,
        visits.loss_memory,
        gradient_norm,
        update_norm,
        visits.tracking_error,
    )


def own_memory(_state: State, memory: Tensor) -> Tensor:
    """`task_params` of learners whose memory is the task's parameters."""
    return memory
