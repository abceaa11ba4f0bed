"""When a compiled step is compared with the plain one, and on what."""

import torch
from torch import Tensor

from streammeta.learner.executors.serving import Executors
from streammeta.learner.flat import state_tensors
from tests.simulator.compiler import SimulatedSteps, Workshop
from tests.simulator.learner import LEARNER, WILD, exact_steps


def test_an_update_that_is_not_finite_tells_nothing_of_a_step() -> None:
    """A compiled step writes nothing then, the plain one NaN: it is neither given up nor taken for tested."""
    steps, w = exact_steps(), torch.zeros(3, dtype=torch.float64)
    state = LEARNER.init(w)
    executors = Executors(steps, SimulatedSteps(Workshop(looks=1)))

    def inputs(x: float) -> list[Tensor]:
        arrays = [torch.full((1, 2, width), x, dtype=torch.float64) for width in (2, 1, 2, 1)]
        return [
            *state_tensors(state),
            torch.zeros(1, 1, dtype=w.dtype),
            torch.zeros(1, dtype=w.dtype),
            *arrays,
        ]

    shape = executors.of(state, inputs(1.0))
    executors.look()
    executors.test(shape, state, inputs(2 * WILD))
    assert shape.candidate is not None
    assert executors.look() == []
    executors.test(shape, state, inputs(3.0))
    assert shape.candidate is None
    assert len(executors.look()) == 1
