"""The one abstraction: a meta-learner is three pure functions over state.

Parameters are one flat vector w of d numbers; a task's memory is a row of `memory_size` numbers. What the
next step needs is in `State`; what a person wants to see is in `Info`; the two never mix.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree

from streammeta.events import Batch, Episode

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Mean loss of one task: (parameters (d,), x (examples, …), y (examples, …)) -> shape ()."""


class State(NamedTuple):
    """All that a learner carries from one event to the next, tasks apart.

    Attributes:
        params: Meta-parameters w, shape (d,).
        outer: What the outer optimiser keeps, by name.
        slots: What the algorithm keeps beside, by name.
        inner_lr, meta_lr: The rates α and η, shape (): in the state, so that one traced step serves them all.
    """

    params: Tensor
    outer: Mapping[str, Tensor]
    slots: Mapping[str, Tensor]
    inner_lr: Tensor
    meta_lr: Tensor


class Info(NamedTuple):
    """What a watcher wants to know of one update; B is the number of tasks in it.

    Attributes:
        loss_meta, loss_adapted, loss_memory: Query losses before the event is learned from, shape (B,): at w,
            after one inner adaptation, at the task's memory (NaN where there is none).
        gradient_norm: ‖mean v‖, shape ().
        update_norm: ‖w' − w‖, shape ().
        tracking_error: ‖u_i' − (w − α∇l(w;S))‖, shape (B,); NaN for learners without memory.
    """

    loss_meta: Tensor
    loss_adapted: Tensor
    loss_memory: Tensor
    gradient_norm: Tensor
    update_norm: Tensor
    tracking_error: Tensor


Merge = Callable[[State, State], State]
"""(a rank's own state, the mean of all ranks' states) -> the state from which the rank goes on.

In the mean, numbers are weighted means and counts (integers) the largest of all. Pure, and the same on every
rank but for what is the rank's own.
"""


def to_mean(own: State, mean: State) -> State:
    """Go on from the mean, at the own learning rates: for states whose numbers may be averaged."""
    return mean._replace(inner_lr=own.inner_lr, meta_lr=own.meta_lr)


class MetaLearner(NamedTuple):
    """A meta-learning algorithm.

    Attributes:
        init: (w (d,)) -> the first state.
        update: (state, memory (B, M), seen (B,), episode with leading axis B) -> the next state, the next
            memories (B, M), info. `seen` is 0 at a task's first visit, when `memory` is ignored.
            Inputs are left untouched.
        adapt: (state, support set of one task) -> that task's parameters (d,).
        memory_size: M, the numbers kept per task.
        task_params: (state, memory (M,)) -> the task's own parameters (d,), for watchers and exports; None
            for learners that keep none.
        meta_rate: state -> the rate of the next meta-update, shape (), for watchers; None where it is
            `meta_lr`.
        merge: How the states of ranks that learned apart unite; where they cannot, why, in words.
    """

    init: Callable[[Tensor], State]
    update: Callable[[State, Tensor, Tensor, Episode[Tensor]], tuple[State, Tensor, Info]]
    adapt: Callable[[State, Batch[Tensor]], Tensor]
    memory_size: int
    task_params: Callable[[State, Tensor], Tensor] | None = None
    meta_rate: Callable[[State], Tensor] | None = None
    merge: Merge | str = to_mean


def per_task(function: Callable[..., Any]) -> Callable[..., Any]:
    """Map `function` over the leading (task) axis of all its arguments.

    One task is computed without the map: batched kernels cost more than plain ones. Within `one_by_one`
    several are too, one after the other, to the same numbers.

    >>> per_task(lambda row: row.sum())(torch.ones(3, 2))
    tensor([2., 2., 2.])
    >>> per_task(lambda row: row.sum())(torch.ones(1, 2))
    tensor([2.])
    """

    def mapped(*arguments: Any) -> Any:
        tasks = _pytree.tree_leaves(arguments)[0].shape[0]
        if tasks > 1 and not _one_by_one.get():
            return torch.func.vmap(function)(*arguments)
        results = [
            function(*_pytree.tree_map(lambda leaf, at=at: leaf[at], arguments)) for at in range(tasks)
        ]
        if tasks == 1:
            return _pytree.tree_map(lambda leaf: leaf.unsqueeze(0), results[0])
        return _pytree.tree_map(lambda *leaves: torch.stack(leaves), *results)

    return mapped


_one_by_one: ContextVar[bool] = ContextVar("one_by_one", default=False)


@contextmanager
def one_by_one() -> Iterator[None]:
    """Compute the tasks of an iteration one by one: for models that no map over tasks can take (an LSTM).

    It changes how `per_task` computes, not what: the numbers agree to rounding.
    """
    token = _one_by_one.set(True)
    try:
        yield
    finally:
        _one_by_one.reset(token)
