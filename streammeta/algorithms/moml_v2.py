"""MOML v2: every memory moves at every iteration, at the cost of one.

Literally, n memories of d numbers move per event. But a memory whose task is absent moves as all absent ones
do, so one global average and a residual per task say the same in O(d).
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task, to_mean
from streammeta.algorithms.counters import as_pair, of_pair
from streammeta.algorithms.moml import OuterScale, Visit, check_beta, info_of
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.steps import HessianSet, Order, adapt, first_state, inner_gradient, outer_step
from streammeta.events import Episode


def moml_v2(
    loss: Loss,
    outer: Outer,
    *,
    dimension: int,
    inner_lr: float,
    meta_lr: float,
    beta: float,
    tasks: int | None = None,
    order: Order = "second",
    hessian_set: HessianSet = "support",
    outer_scale: OuterScale = "none",
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn an initialisation with one memory per task, all of which move at every iteration.

        i in the iteration:      u_i ← (1−β) u_i + β [w − (n/B) α∇l(w;S1)]
        i not in the iteration:  u_i ← (1−β) u_i + β w
        v_i ← (I − α∇²l(w;S2)) ∇l(u_i;S3) at the new u_i;   w ← outer(w, mean_i v_i)

    computed as u_i = A + (1−β)^(t−t_i) r_i with one global average A ← (1−β)A + βw and, per task, the
    residual r_i = u_i − A at the iteration t_i of its last visit: exact, and no other task is touched.

    Every task, also one not yet seen, has u_i = w_0 at the start, hence A = w_0 and r_i = 0 before its first
    visit. A first visit is therefore like any other (v1 takes β = 1 then, which with n/B in front of the
    gradient would be an inner step n/B times too long). With B = n this is v1 begun at u_i = w_0.

    Args:
        loss: Mean loss of one task; twice differentiable for second order.
        outer: Moves w along the mean of v_i.
        dimension: d.
        inner_lr: α >= 0.
        meta_lr: η >= 0, handed to `outer`.
        beta: Weight of the new value, in (0, 1]; of order B/n, or n/B amplifies the gradient's noise.
        tasks: n; None counts the tasks seen so far, those of the iteration in hand included.
        order: As for `moml`.
        hessian_set: As for `moml`.
        outer_scale: As for `moml`: "beta" multiplies v_i by β.
        inner_clip_norm: c > 0; clips ∇l(w;S1) as for `moml`, before the factor n/B: what a memory tracks is
            then the clipped inner step, and a visit adds β (n/B) αc to it at most.

    Returns:
        A learner with d + 2 numbers of memory per task (r_i, and t_i in two numbers) and d + 1 or d + 2
        numbers of slots (A, t, and n where it is counted). An update costs what v1's does.

    Raises:
        ValueError: a rate or `tasks` is out of range.

    Example:
        On l(w) = ½(w − x)² with α = ½, β = ½, n = 4, B = 1: u = ½ w + ½ (w − 4 · ½ · w) = 0.

        >>> from streammeta.algorithms.outer import sgd
        >>> from streammeta.events import Batch
        >>> half_square = lambda w, x, y: (0.5 * (w - x) ** 2).mean()
        >>> learner = moml_v2(half_square, sgd(), dimension=1, inner_lr=0.5, meta_lr=0.1, beta=0.5, tasks=4)
        >>> zero = Batch(torch.zeros(1, 1, 1), torch.zeros(1, 1, 1))
        >>> state = learner.init(torch.tensor([2.0]))
        >>> after, memory, _ = learner.update(state, torch.zeros(1, 3), torch.zeros(1), Episode(zero, zero))
        >>> memory, learner.task_params(after, memory[0])
        (tensor([[-2.,  0.,  1.]]), tensor([0.]))

    Source: Wang, Yuan, Ying, Yang, JMLR 24(145) 2023, arXiv:2106.04911, and its public code. The O(d) form is
    derived, and checked against the literal one. [derived]
    """
    check_beta(beta)
    if tasks is not None and tasks < 1:
        raise ValueError(f"tasks must be at least 1, got {tasks}")
    inner = inner_gradient(loss, order, hessian_set, inner_clip_norm)
    scale = beta if outer_scale == "beta" else 1.0

    def visit(
        state: State, average: Tensor, ratio: Tensor, row: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> Visit:
        """One task's part; `average` and `ratio` are A after the iteration and n/B."""
        params, alpha = state.params, state.inner_lr
        residual = torch.where(seen > 0, _residual_now(state, row, beta), torch.zeros_like(params))
        gradient, pull_back = inner(params, alpha, episode.support)
        moved = (1 - beta) * residual - beta * ratio * alpha * gradient
        direction = pull_back(grad(loss)(average + moved, *episode.query))
        target = params - alpha * gradient
        before = loss(state.slots["average"] + residual, *episode.query)
        return Visit(
            memory=torch.cat([moved, as_pair(state.slots["iterations"] + 1, moved.dtype)]),
            direction=scale * direction if outer_scale == "beta" else direction,
            loss_meta=loss(params, *episode.query),
            loss_adapted=loss(target, *episode.query),
            loss_memory=torch.where(seen > 0, before, torch.nan),
            tracking_error=torch.linalg.vector_norm(average + moved - target),
        )

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        slots = _next_slots(state, seen, beta)
        known = torch.full_like(state.inner_lr, tasks) if tasks else slots["tasks"].to(state.params.dtype)
        visits = Visit(
            *per_task(lambda *task: visit(state, slots["average"], known / seen.shape[0], *task))(
                memory, seen, episode
            )
        )
        after, gradient_norm, update_norm = outer_step(outer, state, visits.direction.mean(0))
        return after._replace(slots=slots), visits.memory, info_of(visits, gradient_norm, update_norm)

    def task_params(state: State, memory: Tensor) -> Tensor:
        return state.slots["average"] + _residual_now(state, memory, beta)

    init = first_state(outer, inner_lr, meta_lr, _first_slots(counted=tasks is None))
    adapted = adapt(loss, clip_norm=inner_clip_norm)
    return MetaLearner(init, update, adapted, dimension + 2, task_params, merge=_merge)


def _merge(own: State, mean: State) -> State:
    """A follows w, so it is averaged as w is; t and n are those that the rank's own memories count by."""
    counts = {name: slot for name, slot in own.slots.items() if name != "average"}
    return to_mean(own, mean)._replace(slots={**mean.slots, **counts})


def _first_slots(*, counted: bool) -> Callable[[Tensor], Mapping[str, Tensor]]:
    def slots(params: Tensor) -> Mapping[str, Tensor]:
        zero = torch.zeros((), dtype=torch.int64, device=params.device)
        kept = {"average": params.clone(), "iterations": zero}
        return {**kept, "tasks": zero.clone()} if counted else kept

    return slots


def _next_slots(state: State, seen: Tensor, beta: float) -> Mapping[str, Tensor]:
    """A, t and, where it is counted, n after an iteration over tasks of which some were not `seen` (B,)."""
    slots = {
        "average": torch.lerp(state.slots["average"], state.params, beta),
        "iterations": state.slots["iterations"] + 1,
    }
    if "tasks" in state.slots:
        slots["tasks"] = state.slots["tasks"] + (seen <= 0).sum()
    return slots


def _residual_now(state: State, row: Tensor, beta: float) -> Tensor:
    """(1−β)^(t−t_i) r_i from a memory row (r_i, t_i); float32 knows no 1−β close to 1, so in double."""
    absent = state.slots["iterations"] - of_pair(row[-2:])
    return row[:-2] * torch.pow(1 - beta, absent.double()).to(row.dtype)
