"""Memory-reduced meta-learning: shared features and a head per task, as a bilevel problem.

    min_x F(x) = (1/m) Σ f_i(x, y_i*(x)),   y_i*(x) = argmin_y g_i(x, y)

x: the body, y_i: the task's head. No step of the head's solver is kept, so that the peak of memory does not
grow with their number. Source: Yang, Ma, Yu, AAAI 2025, arXiv:2412.12030.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import grad, vjp

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.conjugate_gradient import conjugate_gradient
from streammeta.algorithms.outer import Outer
from streammeta.algorithms.split import Split
from streammeta.algorithms.steps import curb, first_state, outer_step
from streammeta.events import Batch, Episode


def memory_reduced(
    loss: Loss,
    outer: Outer,
    *,
    split: Split,
    inner_lr: float,
    meta_lr: float,
    inner_steps: int,
    cg_steps: int,
    ridge: float,
    cg_tolerance: float = 1e-10,
    warm_start: bool = False,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Learn a body whose heads are solved for, by one cross product instead of back-propagation.

        g(x, y) = loss on the support set + (μ/2)‖y‖²,   f(x, y) = loss on the query set
        y: K steps y ← y − α∇_y g(x, y), x held constant
        v: ∇²_yy g(x, y) v = ∇_y f(x, y) by N conjugate-gradient steps
        h_i = ∇_x f(x, y) − ∇²_xy g(x, y) v;   x ← outer(x, mean_i h_i)

    The head of w never moves: it is where every task's y begins. With a warm start y and v begin where the
    task's last event left them, which makes fixed K and N exact in the limit on repeated data.

    Args:
        loss: Mean loss of one task; twice differentiable.
        outer: Moves w along the mean of h_i, which is 0 in the head; the authors use `adam`.
        split: Which parameters are the head.
        inner_lr: α >= 0, the head's step.
        meta_lr: Handed to `outer`.
        inner_steps: K >= 0.
        cg_steps: N >= 1.
        ridge: μ >= 0; without it the Hessian of a head with more numbers than examples is singular.
        cg_tolerance: Norm of the residual at which conjugate gradients rest, in units of ∇_y f. They also
            stop at a direction of curvature <= 0, where the head's problem is not convex.
        warm_start: Keep (y, v) per task.
        inner_clip_norm: c > 0; every step of the head takes p = ∇_y g as p · min(1, c/‖p‖). The solution is
            where p = 0 and stays so; the way there is slower. None clips nothing.

    Returns:
        A learner with 2q numbers of memory per task after a warm start, none otherwise. An update costs K
        gradients and N Hessian-vector products of the head (in a traced step the features are computed
        once), one cross product and one gradient of the network, and three forward passes.

    Raises:
        ValueError: a setting is out of range.
    """
    if inner_steps < 0 or cg_steps < 1 or ridge < 0:
        raise ValueError(
            "inner_steps and ridge must not be negative and cg_steps must be at least 1, "
            f"got {inner_steps}, {ridge} and {cg_steps}"
        )

    clip = curb(inner_clip_norm)

    def head_gradient(body: Tensor, head: Tensor, support: Batch[Tensor]) -> Tensor:
        """∇_y g, shape (q,)."""
        gradient: Tensor = grad(lambda y: loss(split.join(body, y), *support))(head)
        return gradient + ridge * head

    def solve(body: Tensor, head: Tensor, alpha: Tensor, support: Batch[Tensor]) -> Tensor:
        for _ in range(inner_steps):
            head = head - alpha * clip(head_gradient(body, head, support))[0]
        return head

    def task(
        params: Tensor, alpha: Tensor, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        body, head = split.parts(params)
        y, v = _begin(head, memory, seen) if warm_start else (head, None)
        known = seen > 0 if warm_start else torch.zeros_like(seen) > 0
        at_memory = loss(split.join(body, y), *episode.query)
        y = solve(body, y, alpha, episode.support)
        adapted = split.join(body, y)
        over_body, over_head = split.parts(grad(loss)(adapted, *episode.query))
        v = conjugate_gradient(
            _pull_back(lambda at: head_gradient(body, at, episode.support), y),
            over_head,
            v,
            steps=cg_steps,
            tolerance=cg_tolerance,
        )
        cross = _pull_back(lambda at: head_gradient(at, y, episode.support), body)(v)
        return (
            split.join(over_body - cross, torch.zeros_like(y)),
            torch.cat([y, v]) if warm_start else memory,
            loss(params, *episode.query),
            loss(adapted, *episode.query),
            torch.where(known, at_memory, torch.nan),
        )

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        directions, moved, at_meta, adapted, at_memory = per_task(
            lambda *visit: task(state.params, state.inner_lr, *visit)
        )(memory, seen, episode)
        after, gradient_norm, update_norm = outer_step(outer, state, directions.mean(0))
        unknown = torch.full_like(at_meta, torch.nan)
        return after, moved, Info(at_meta, adapted, at_memory, gradient_norm, update_norm, unknown)

    def adapt(state: State, support: Batch[Tensor]) -> Tensor:
        body, head = split.parts(state.params)
        return split.join(body, solve(body, head, state.inner_lr, support))

    def task_params(state: State, memory: Tensor) -> Tensor:
        return split.join(split.parts(state.params)[0], memory[: split.head_size])

    return MetaLearner(
        first_state(outer, inner_lr, meta_lr),
        update,
        adapt,
        memory_size=2 * split.head_size if warm_start else 0,
        task_params=task_params if warm_start else None,
    )


def _begin(head: Tensor, memory: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Where y and v begin: at the task's memory, at its first visit at the head of w and at zero."""
    y, v = torch.split(memory, head.numel())
    return torch.where(seen > 0, y, head), torch.where(seen > 0, v, torch.zeros_like(v))


def _pull_back(function: Callable[[Tensor], Tensor], at: Tensor) -> Callable[[Tensor], Tensor]:
    """The map v -> Jᵀv of `function` at a point."""
    pull_back = vjp(function, at)[1]
    return lambda v: pull_back(v)[0]
