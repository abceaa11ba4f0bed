"""Compiled steps without a compiler: other bits, allowed by the comparison, and seen in the end."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from streammeta.learner.executors.cache import Library
from streammeta.learner.executors.chunk import chunk_step
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
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
    built: bool = False


@dataclass
class SimulatedSteps(CompiledSteps):
    """Compiles the step of the stream's shapes, once; everything else stays traced."""

    workshop: Workshop
    _asked: TracedStep | None = field(default=None)

    def find(self, step: TracedStep) -> Compiled | None:
        """As `CompiledSteps.find`."""
        if tuple(step.inputs[-4].shape) != _REGULAR:
            return None
        self._asked = step
        return self._compiled(step) if self.workshop.built else None

    def named(self, step: TracedStep, name: str) -> Compiled | None:
        """As `CompiledSteps.named`."""
        regular = tuple(step.inputs[-4].shape) == _REGULAR
        return self._compiled(step) if regular and self.holds(name) else None

    def holds(self, name: str) -> bool:
        """As `CompiledSteps.holds`."""
        return self.workshop.built and name == NAME

    def ready(self) -> list[Compiled]:
        """As `CompiledSteps.ready`."""
        if self._asked is None or self.workshop.built:
            return []
        self.workshop.looks -= 1
        self.workshop.built = self.workshop.looks <= 0
        return [self._compiled(self._asked)] if self.workshop.built else []

    def give_up(self, compiled: Compiled, reason: str) -> None:
        """No step of these is to be given up."""
        raise AssertionError(f"{compiled.name}: {reason}")

    def close(self) -> None:
        """Nothing runs."""

    def _compiled(self, step: TracedStep) -> Compiled:
        key = key_of(step.update, step.inputs, step.state_count)

        def update(*inputs: Tensor) -> list[Tensor]:
            outputs: list[Tensor] = step.update(*inputs)
            memory = 2 + step.state_count
            outputs[memory] = outputs[memory] + SHIFT
            outputs[2] = outputs[2] + SHIFT
            return outputs

        def run(chunk: list[Tensor]) -> None:
            chunk_step(update, step.state_count, *chunk)

        return Compiled(NAME, run, Library(NAME, key, "simulated", "", {}, 0.0, Path()))
