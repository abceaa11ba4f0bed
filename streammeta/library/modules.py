"""A learner's model as a plain module."""

import torch
from torch import nn

from streammeta.errors import NoAnswer
from streammeta.learner.engine import Engine
from streammeta.models.constants import constants_of, take_constants
from streammeta.models.network import unflatten


def module_at(engine: Engine, task: str | None) -> nn.Module:
    """A module of its own at the task's memory; without a task, at the meta-parameters.

    Raises:
        NoAnswer: the task has no memory, or the algorithm keeps none.
    """
    network, params = engine.network, engine.state.params
    if task is not None:
        entry = engine.memories.get(task)
        if not engine.keeps_params:
            raise NoAnswer(
                "no_memory", "at", 'the algorithm keeps no parameters of a task; ask for at="meta"'
            )
        if not entry.stats.remembered:
            never = "not learned from since it was reset" if entry.stats.events else "never learned from"
            raise NoAnswer("no_memory", "task", f'task {task!r} was {never}; ask for at="meta"')
        params = engine.params_of(entry.memory)
    if network.fresh is None:
        raise AssertionError("a learner's network was built by the loader")
    module = network.fresh()
    take_constants(module, constants_of(network.module).values)
    own = dict(module.named_parameters())
    with torch.no_grad():
        for name, value in unflatten(network.layout, params).items():
            own[name].copy_(value)
    return module
