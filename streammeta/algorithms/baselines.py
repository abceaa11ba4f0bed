"""What meta-learning must beat: one model for all tasks, and a model of its own for every task.

Both learn from all that an event brings, support and query alike. Their prequential losses mean the same as
those of the other learners, so that they can be laid side by side.
"""

import torch
from torch import Tensor
from torch.func import grad

from streammeta.algorithms.base import Info, Loss, MetaLearner, State, per_task
from streammeta.algorithms.counters import as_pair, of_pair
from streammeta.algorithms.maml import without_memory
from streammeta.algorithms.outer import Outer, Slots
from streammeta.algorithms.steps import adapt, first_state
from streammeta.events import Episode


def online_sgd(
    loss: Loss, outer: Outer, *, inner_lr: float, meta_lr: float, inner_clip_norm: float | None = None
) -> MetaLearner:
    """Train one model on the stream, whatever the task.

        w ← outer(w, mean_i ∇l(w; S_i ∪ Q_i))

    Args:
        loss: Mean loss of one task.
        outer: Moves w.
        inner_lr: α of the adaptation that `loss_adapted` measures; nothing is learned through it.
        meta_lr: η >= 0, handed to `outer`.
        inner_clip_norm: As for `moml`, of that adaptation; learning is not clipped by it.

    Returns:
        A learner without memory. An update costs three gradients (support, query; support alone for the
        adapted loss).

    Raises:
        ValueError: a rate is negative.
    """
    adapted = adapt(loss, clip_norm=inner_clip_norm)

    def direction(state: State, episode: Episode[Tensor]) -> tuple[Tensor, Tensor]:
        return _event_gradient(loss, state.params, episode), adapted(state, episode.support)

    return without_memory(loss, direction, outer, inner_lr=inner_lr, meta_lr=meta_lr, adapted=adapted)


def independent(
    loss: Loss,
    outer: Outer,
    *,
    dimension: int,
    inner_lr: float,
    meta_lr: float,
    inner_clip_norm: float | None = None,
) -> MetaLearner:
    """Train a model per task on that task's data alone; all begin at the same point w, which stays.

        φ_i ← outer(φ_i, ∇l(φ_i; S_i ∪ Q_i)),   φ_i = w before the first visit

    Every task has an outer optimiser of its own, at its own count of visits.

    Args:
        loss: Mean loss of one task.
        outer: Moves φ_i; its slots are numbers of the model's dtype, and counts.
        dimension: d.
        inner_lr: α of the adaptation from w that `loss_adapted` measures; nothing is learned through it.
        meta_lr: η >= 0, handed to `outer`.
        inner_clip_norm: As for `moml`, of that adaptation; learning is not clipped by it.

    Returns:
        A learner whose memory is φ_i and the optimiser's slots: d numbers with plain SGD, 2d with momentum.
        `loss_memory` is that of φ_i before the event; `update_norm` is 0. An update costs three gradients.

    Raises:
        ValueError: a rate is negative.
    """
    reached = adapt(loss, clip_norm=inner_clip_norm)
    like = outer.init(torch.zeros(dimension))
    size = _row(torch.zeros(dimension), like).numel()

    def task(
        state: State, row: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        begun = _row(state.params, outer.init(state.params))
        params, slots = _read(torch.where(seen > 0, row, begun), dimension, like)
        gradient = _event_gradient(loss, params, episode)
        moved = _row(*outer.update(params, gradient, slots, state.meta_lr))
        before = torch.where(seen > 0, loss(params, *episode.query), torch.nan)
        target = reached(state, episode.support)
        return moved, gradient, loss(state.params, *episode.query), loss(target, *episode.query), before

    def update(
        state: State, memory: Tensor, seen: Tensor, episode: Episode[Tensor]
    ) -> tuple[State, Tensor, Info]:
        moved, gradients, at_meta, adapted, before = per_task(lambda *one: task(state, *one))(
            memory, seen, episode
        )
        norm = torch.linalg.vector_norm(gradients.mean(0))
        unknown = torch.full_like(at_meta, torch.nan)
        return state, moved, Info(at_meta, adapted, before, norm, torch.zeros_like(norm), unknown)

    without_slots = outer._replace(init=lambda _params: {})
    return MetaLearner(
        first_state(without_slots, inner_lr, meta_lr),
        update,
        reached,
        size,
        task_params=lambda _state, row: row[:dimension],
        merge=lambda own, _mean: own,  # nothing is shared
    )


def _event_gradient(loss: Loss, params: Tensor, episode: Episode[Tensor]) -> Tensor:
    """The gradient of the mean loss over all examples of both sets."""
    counts = [batch.x.shape[0] for batch in episode]

    def over_all(w: Tensor) -> Tensor:
        support, query = (count * loss(w, *batch) for count, batch in zip(counts, episode, strict=True))
        return (support + query) / sum(counts)

    gradient: Tensor = grad(over_all)(params)
    return gradient


def _row(params: Tensor, slots: Slots) -> Tensor:
    """Parameters and an optimiser's slots as one row; counts as two numbers."""
    return torch.cat([params, *(_numbers(slot, params.dtype) for slot in slots.values())])


def _numbers(slot: Tensor, dtype: torch.dtype) -> Tensor:
    return slot.reshape(-1) if slot.is_floating_point() else as_pair(slot, dtype)


def _read(row: Tensor, dimension: int, like: Slots) -> tuple[Tensor, Slots]:
    """What `_row` wrote: parameters (d,), and slots of the shapes and kinds of `like`."""
    sizes = [_numbers(slot, row.dtype).numel() for slot in like.values()]
    params, *pieces = torch.split(row, [dimension, *sizes])
    slots = {
        name: piece.view(slot.shape) if slot.is_floating_point() else of_pair(piece)
        for piece, (name, slot) in zip(pieces, like.items(), strict=True)
    }
    return params, slots
