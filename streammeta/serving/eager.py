"""Predictions of many tasks by the learner's own functions, not traced: what every trace is made of."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from streammeta.algorithms.base import MetaLearner, State, per_task
from streammeta.events import Batch
from streammeta.learner.flat import read_state
from streammeta.learner.graphs import FlatStep
from streammeta.learner.mapping import alone
from streammeta.models.network import Network
from streammeta.serving.asking import Kind


class Eager(NamedTuple):
    """A learner's functions. One thread at a time, for a call puts parameters into the module.

    Attributes:
        network: Model and loss.
        learner: How it adapts, and what its memories mean.
    """

    network: Network
    learner: MetaLearner

    def function(self, kind: Kind, like: State, *, maps: bool = True) -> FlatStep:
        """The state's tensors, then arrays with a task axis in front -> [predictions]; any number of tasks.

        `like`: a state of the same layout. `maps`: tasks are computed at once; else one by one.
        """
        predict, of_params = self.network.predict, self._params_of(kind)

        def function(*flat: Tensor) -> list[Tensor]:
            state, arrays = read_state(like, list(flat))

            def of_task(*task: Tensor) -> Tensor:
                *given, x = task
                return predict(of_params(state, *given), x)

            return [per_task(of_task)(*arrays)]

        return function if maps else alone(function)

    def _params_of(self, kind: Kind) -> Callable[..., Tensor]:
        """(state, what the kind needs of a task) -> the parameters (d,)."""
        learner = self.learner
        if kind == "meta":
            return lambda state: state.params
        if kind == "memory":
            return learner.task_params or _none
        return lambda state, x, y: learner.adapt(state, Batch(x, y))


def _none(_state: State, _memory: Tensor) -> Tensor:
    raise AssertionError("a learner without memory was asked for one")
