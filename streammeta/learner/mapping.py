"""Whether the tasks of an iteration are computed at once, or one by one where a model refuses the map."""

from typing import Final

from torch import Tensor

from streammeta.algorithms.base import one_by_one
from streammeta.learner.flat import Signature
from streammeta.learner.graphs import FlatStep, attempt, refuse_machine_fault
from streammeta.learner.shapes import remember

MAX_MAPPED: Final = 4096
"""Shapes of which it is remembered whether the tasks of an iteration are computed at once."""


class Maps:
    """What was tried."""

    def __init__(self) -> None:
        self._known: dict[Signature, bool] = {}

    def at_once(self, signature: Signature, step: FlatStep, blank: list[Tensor]) -> bool:
        """Whether the tasks of an iteration can be computed at once; else they are, one by one.

        Tried once for these shapes, after it was seen that they can be computed one by one: what fails then
        is no fault of the model.
        """
        if signature[0][0][0] == 1:
            return True
        if signature not in self._known:
            attempt(alone(step), blank)
            remember(self._known, signature, _maps(step, blank), MAX_MAPPED)
        return self._known[signature]


def alone(step: FlatStep) -> FlatStep:
    """The same step, its tasks computed one by one."""

    def one_after_another(*flat: Tensor) -> list[Tensor]:
        with one_by_one():
            return step(*flat)

    return one_after_another


def _maps(step: FlatStep, blank: list[Tensor]) -> bool:
    """Whether a step that can be computed task by task can be computed for all tasks at once."""
    try:
        step(*blank)
    except Exception as error:  # noqa: BLE001 (whatever it is, the step can be computed without the map)
        refuse_machine_fault(error)
        return False
    return True
