"""What of an update may be kept: it is finite, and no task's own parameters outgrow a limit."""

import math

import torch
from torch import Tensor

from streammeta.algorithms.base import Info, MetaLearner, State, per_task
from streammeta.errors import ConfigError


def limit_of(configured: float, learner: MetaLearner) -> float:
    """The limit of the norm as `events.memory_norm_limit` says it; infinity for 0, which is none.

    Raises:
        ConfigError: there is one, and the learner keeps nothing that could grow.
    """
    if configured and learner.task_params is None:
        raise ConfigError(
            f"events.memory_norm_limit = {configured:g}: this algorithm keeps no parameters of a task's own "
            "that could grow; leave it out"
        )
    return configured or math.inf


def finite(after: State, moved: Tensor, info: Info) -> Tensor:
    """Whether all that is to be kept is, shape ()."""
    slots = (*after.outer.values(), *after.slots.values())
    tensors = (after.params, *slots, after.inner_lr, after.meta_lr, moved)
    kept = [*tensors, info.loss_meta, info.loss_adapted, info.gradient_norm]
    # Asked outright: a compiler takes 0 · x for 0.
    return torch.stack([tensor.isfinite().all() for tensor in kept if tensor.numel()]).all()


def norms(learner: MetaLearner, state: State, memory: Tensor) -> Tensor:
    """Of the tasks' own parameters, shape (B,); 0 where the learner keeps none."""
    task_params = learner.task_params
    if task_params is None:
        return memory.new_zeros(len(memory))
    found: Tensor = per_task(lambda row: torch.linalg.vector_norm(task_params(state, row)))(memory)
    return found
