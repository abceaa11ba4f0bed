"""NASA: MOML's memory, and a moving average of the meta-gradient beside it."""

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, Loss, MetaLearner, State
from streammeta.algorithms.moml import OuterScale, info_of, own_memory, visit_of
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import HessianSet, Order, adapt, first_state, outer_step
from streammeta.events import Episode


def nasa(
    loss: Loss,
    outer: Outer,
    *,
    dimension: int,
    inner_lr: float,
    meta_lr: float,
    beta: float,
    gamma: float,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    outer_scale: OuterScale = "none",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn an initialisation with one memory per task and an averaged meta-gradient.

        u_i ← (1−β) u_i + β (w − α∇l(w;S1)),  v_i ← (I − α∇²l(w;S2)) ∇l(u_i;S3)     as in MOML v1
        z   ← (1−γ) z + γ mean_i v_i;   w ← outer(w, z)

    The method's theory has all n tasks in every iteration; here an iteration holds those that came. z begins
    at 0. The paper's w ← w − ηz is `outer` = SGD without momentum.

    Args:
        loss: As for `moml`.
        outer: Moves w along z.
        dimension: d.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        beta: Weight of the new value in the memory, in (0, 1].
        gamma: γ in (0, 1], the weight of the new meta-gradient in z; 1 is MOML v1.
        order: As for `moml`.
        hessian_set: As for `moml`.
        outer_scale: As for `moml`.
        inner_clip_norm: As for `moml`.

    Returns:
        A learner with d numbers of memory per task and d of slots (z). An update costs what MOML's does.

    Raises:
        ValueError: a rate is out of range.

    Source: Ghadimi, Ruszczyński, Wang, SIAM J. Optim. 30(1) 2020, arXiv:1812.01094 [recalled], in the
    form in which Wang et al., JMLR 24(145) 2023, compare with it.
    """
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma must be in (0, 1], got {gamma}")
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
        gradient = visits.direction.mean(0)
        average = torch.lerp(state.slots["gradient"], gradient, gamma)
        after, _, update_norm = outer_step(outer, state, average)
        info = info_of(visits, torch.linalg.vector_norm(gradient), update_norm)
        return after._replace(slots={"gradient": average}), visits.memory, info

    init = first_state(outer, inner_lr, meta_lr, lambda params: {"gradient": torch.zeros_like(params)})
    return MetaLearner(init, update, adapt(loss, clip_norm=inner_clip_norm), dimension, own_memory)
