"""BSpiderBoost: MAML whose meta-gradient is corrected by differences on the same data."""

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import HessianSet, Order, adapt, first_state, inner_gradient, outer_step
from streammeta.events import Episode


def bspiderboost(
    loss: Loss,
    outer: Outer,
    *,
    inner_lr: float,
    meta_lr: float,
    period: int,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn an initialisation by MAML's gradient G with variance reduction.

        iterations 0, q, 2q, …:  z ← G(w_t; S)
        the others:              z ← z + G(w_t; S) − G(w_{t−1}; S)       on the SAME data S
        w ← outer(w, z),   G(w; S) = mean_i (I − α∇²l(w;S2)) ∇l(w − α∇l(w;S1); S3)

    The difference has little variance because w moves little; every q-th iteration begins anew. The paper
    takes that one over more tasks than the others; here every iteration holds the tasks that came. Its
    w ← w − ηz is `outer` = SGD without momentum.

    Args:
        loss: Mean loss of one task; twice differentiable for second order.
        outer: Moves w along z.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        period: q >= 1; 1 is MAML.
        order: As for `moml`.
        hessian_set: As for `moml`.
        inner_clip_norm: As for `moml`.

    Returns:
        A learner without task memory and with 2d + 1 numbers of slots (z, w_{t−1}, t modulo q). An update
        costs twice what MAML's does, also at every q-th iteration: the step is one graph.

    Raises:
        ValueError: a rate or `period` is out of range.

    Source: Hu, Zhang, Chen, He, NeurIPS 2020, arXiv:2002.10790, Algorithm 2 [recalled]. The public code
    of Wang et al., which compares with it, draws new data for the second gradient; this one does not.
    """
    if period < 1:
        raise ValueError(f"period must be at least 1, got {period}")
    inner = inner_gradient(loss, order, hessian_set, inner_clip_norm)

    def meta_gradient(params: Tensor, alpha: Tensor, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        """One task's part of G, and its adapted parameters."""
        gradient, pull_back = inner(params, alpha, episode.support)
        target = params - alpha * gradient
        return pull_back(grad(loss)(target, *episode.query)), target

    def task(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        now, target = meta_gradient(state.params, state.inner_lr, episode)
        former, _ = meta_gradient(state.slots["former"], state.inner_lr, episode)
        return now, former, loss(state.params, *episode.query), loss(target, *episode.query)

    def update(
        state: State, memory: Tensor, _seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        now, former, at_meta, adapted = per_task(lambda episode: task(state, episode))(episode)
        gradient, phase = now.mean(0), state.slots["phase"]
        corrected = state.slots["gradient"] + gradient - former.mean(0)
        estimate = torch.where(phase == 0, gradient, corrected)
        after, _, update_norm = outer_step(outer, state, estimate)
        slots = {"gradient": estimate, "former": state.params, "phase": (phase + 1) % period}
        unknown = torch.full_like(at_meta, torch.nan)
        info = Info(at_meta, adapted, unknown, torch.linalg.vector_norm(gradient), update_norm, unknown)
        return after._replace(slots=slots), memory, info

    def slots(params: Tensor) -> dict[str, Tensor]:
        phase = torch.zeros((), dtype=torch.int64, device=params.device)
        return {"gradient": torch.zeros_like(params), "former": params.clone(), "phase": phase}

    return MetaLearner(
        first_state(outer, inner_lr, meta_lr, slots),
        update,
        adapt(loss, clip_norm=inner_clip_norm),
        memory_size=0,
        merge="its gradient estimate is corrected along one path of w, and a mean of paths lies on none",
    )
