"""Compiled steps without a compiler: other bits, allowed by the comparison, and seen in the end."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from streammeta.events import Conditions
from streammeta.learner.executors.cache import Library
from streammeta.learner.executors.chunk import chunk_step
from streammeta.learner.executors.compiled import Compiled, CompiledSteps, Shapes
from streammeta.learner.executors.identity import key_of
from streammeta.learner.executors.process import TracedStep
from tests.simulator.learner import SHIFT

NAME = "0123456789abcdef0123456789abcdef"
_REGULAR = (1, 2, 2)
"""The shape of the support set's inputs in an event of the stream."""


@dataclass
class Workshop:
    """The cache of compiled steps, which outlives processes; `looks` until a compilation has ended."""

    looks: int
    built: Conditions | None = None


@dataclass
class SimulatedSteps(CompiledSteps):
    """Compiles the step of the stream's shapes, once; everything else stays traced."""

    workshop: Workshop
    seconds: float = 0.0
    _asked: TracedStep | None = field(default=None)

    def find(self, step: TracedStep) -> Compiled | None:
        """As `CompiledSteps.find`."""
        if tuple(step.inputs[-4].shape) != _REGULAR:
            return None
        self._asked = step
        return self._compiled(step, self.workshop.built) if self.workshop.built else None

    def named(self, step: TracedStep, name: str) -> Compiled | None:
        """As `CompiledSteps.named`."""
        regular = tuple(step.inputs[-4].shape) == _REGULAR
        conditions = self.conditions(name)
        return self._compiled(step, conditions) if regular and conditions else None

    def conditions(self, name: str) -> Conditions | None:
        """As `CompiledSteps.conditions`."""
        return self.workshop.built if name == NAME else None

    def ready(self) -> list[Compiled]:
        """As `CompiledSteps.ready`."""
        asked, workshop = self._asked, self.workshop
        if asked is None or workshop.built:
            return []
        workshop.looks -= 1
        if workshop.looks > 0:
            return []
        workshop.built = Conditions(asked.shapes, "simulated", "", "", "", 1)
        return [self._compiled(asked, workshop.built)]

    @property
    def shapes(self) -> Shapes:
        """As `CompiledSteps.shapes`."""
        built = self.workshop.built is not None
        return Shapes(int(built), int(self._asked is not None and not built), 0)

    def give_up(self, compiled: Compiled, reason: str) -> None:
        """No step of these is to be given up."""
        raise AssertionError(f"{compiled.name}: {reason}")

    def close(self) -> None:
        """Nothing runs."""

    def _compiled(self, step: TracedStep, conditions: Conditions) -> Compiled:
        key = key_of(step.update, step.inputs, step.state_count)

        def update(*inputs: Tensor) -> list[Tensor]:
            outputs: list[Tensor] = step.update(*inputs)
            memory = 2 + step.state_count
            outputs[memory] = outputs[memory] + SHIFT
            outputs[2] = outputs[2] + SHIFT
            return outputs

        def run(chunk: list[Tensor]) -> None:
            chunk_step(update, step.state_count, *chunk)

        return Compiled(NAME, run, Library(NAME, key, conditions, {}, 0.0, Path()))
