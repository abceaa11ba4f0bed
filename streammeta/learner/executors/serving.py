"""Who computes which shapes: the traced step, or the compiled one that took over.

A compiled step is compared with the plain one on real data while the traced one still serves; then it waits
for `switch`, which is called where the order log, or a recording, says so. What is in use belongs to the
state.

Invariant: who computes the iterations of a chunk is known to the order log before the chunk is in the state.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from streammeta.algorithms.base import State
from streammeta.errors import BadEvent, ConfigError, StateError
from streammeta.events import Batch, Conditions, Episode, Switch
from streammeta.learner.executors.chunk import flat_step
from streammeta.learner.executors.compiled import Compiled, CompiledSteps
from streammeta.learner.executors.identity import conditions_here, key_of
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.flat import Signature, outputs_of, signature_of
from streammeta.learner.tracing import Steps
from streammeta.learner.verification import verify

LOST = (
    "events are to be applied again by the compiled step {}, as they were before, but it cannot be had here: "
    '{}; bring back what it was made with, engine.cache_dir included, or set engine.compile = "off": then '
    "they are applied by the traced step, each exactly once, and last digits may differ"
)
_TOO_MANY = (
    'engine.compile = "require": steps are compiled for 64 shapes of iterations at most, and this is a '
    'further one; send episodes of fewer sizes, or set engine.compile = "auto"'
)
_LEARNED_TRACED = (
    'engine.compile = "require": the recording was learned by the traced step here; set engine.compile = '
    '"auto" to learn as it did'
)


@dataclass(slots=True, eq=False)
class Shape:
    """The executors of one signature.

    Attributes:
        serving: The compiled step in use; None: the traced one serves.
        classes: How many classes the model tells apart, 0 for none.
        step: What is compiled; None where nothing is.
        key: The compiled step's.
        made_for: The shapes in words, as `Conditions` names them.
        candidate: Compiled, but not yet compared with the plain step.
        tested: Compared, and not yet in use.
    """

    serving: Compiled | None = None
    classes: int = 0
    step: TracedStep | None = None
    key: str = ""
    made_for: str = ""
    candidate: Compiled | None = None
    tested: Compiled | None = None


class Counts(NamedTuple):
    """Shapes of iterations by who computes them, and what became of compilations in this process."""

    compiled: int
    traced: int
    eager: int
    compiling: int
    failures: int
    seconds: float


class Executors:
    """The executors of one learner."""

    def __init__(
        self,
        steps: Steps,
        compiled: CompiledSteps | None = None,
        names: Iterable[str] = (),
        *,
        required: bool = False,
    ) -> None:
        """`compiled`: None where steps are not compiled. `names`: in use, by the state.

        `required`: a step is compiled at the first event of its shapes, and what cannot be is an error.
        """
        self._required = required
        self._steps = steps
        self._compiled = compiled
        self._shapes: dict[Signature, Shape] = {}
        self._bound: set[str] = set()
        self._told: dict[str, Conditions] = {}
        self.names = set(names)
        self.recovering = False
        """Whether events are applied again, which must give the same bits."""
        self.following = False
        """Whether a recording says who computes what."""
        self.take_over: Callable[[Sequence[Switch]], None] = self.turn
        """Called for switches from the beginning of the chunk that is being applied; must call `turn`."""

    @property
    def compiled(self) -> CompiledSteps | None:
        """Where compiled steps come from."""
        return self._compiled

    @property
    def counts(self) -> Counts:
        """How far it is."""
        traced, eager = self._steps.shapes
        served = sum(shape.serving is not None for shape in self._shapes.values())
        if self._compiled is None:
            return Counts(0, traced, eager, 0, 0, 0.0)
        _, compiling, failures = self._compiled.shapes
        return Counts(served, traced - served, eager, compiling, failures, self._compiled.seconds)

    def wait_with(self, waiting: Callable[[str], None]) -> None:
        """Tell it, in words, what the learning waits for: a trace once, a compilation each second.

        What it raises ends a compilation.
        """
        self._steps.making = waiting
        if self._compiled is not None:
            self._compiled.waiting = waiting

    def of(self, state: State, inputs: list[Tensor]) -> Shape:
        """Who computes iterations of these shapes.

        Raises:
            BadEvent, ConfigError: as `Steps.step`.
            StateError: events are applied again, and the step that applied them cannot be had.
        """
        if self._compiled is None:
            return _TRACED
        episode = Episode(Batch(*inputs[-4:-2]), Batch(*inputs[-2:]))
        signature = signature_of(episode)
        shape = self._shapes.get(signature)
        if shape is None:
            shape = self._first(self._compiled, state, episode, len(inputs) - 6)
            if shape.step is not None:
                self._shapes[signature] = shape
        return shape

    def test(self, shape: Shape, state: State, inputs: list[Tensor]) -> None:
        """Compare its candidate with the plain step, or one that was, on these inputs.

        One that differs is given up, once said.

        Raises:
            StreammetaError: the machine is to blame.
        """
        candidate, step = shape.candidate, shape.step
        if candidate is None or step is None or self._compiled is None:
            return
        try:
            prediction = step.update(*inputs)[1] if step.predicts else None
            run = flat_step(candidate.run, step.state_count, prediction)
            expected = self._steps.reference(state, inputs)(*inputs)
            if not expected[0]:
                return  # a step in place then writes nothing: there is nothing to compare
            finite, *_ = verify(lambda *_: expected, run, inputs, outputs_of(state))
        except ConfigError as error:
            if self._required:
                raise
            shape.candidate = None
            self._compiled.give_up(candidate, str(error))
        except (BadEvent, ArithmeticError, LookupError, ValueError, RuntimeError):
            return  # the data are at fault: the step itself will say so
        else:
            if finite:
                shape.candidate, shape.tested = None, candidate
                self._steps.proven(inputs)
            if finite and self._required:
                self.take_over([Switch(candidate.name)])

    def look(self) -> list[str]:
        """The compiled steps that can take over now. Cheap when nothing happened."""
        if self._compiled is None:
            return []
        for compiled in self._compiled.ready():
            for shape in self._shapes.values():
                if shape.key == compiled.library.key and shape.serving is None:
                    shape.candidate = compiled
        return [shape.tested.name for shape in self._shapes.values() if shape.tested is not None]

    def follow(self, told: Mapping[str, Conditions]) -> list[Switch]:
        """The switches to these compiled steps, which a recording names, and away from all others."""
        self._told |= told
        if self.names.issubset(told):
            return [Switch(name) for name in sorted(set(told) - self.names)]
        return [Switch(), *map(Switch, sorted(told))]

    def in_use(self) -> dict[str, Conditions]:
        """The compiled steps that serve, as far as this process can have compiled steps."""
        if self._compiled is None:
            return {}
        known = {name: self._compiled.conditions(name) or self._told.get(name) for name in sorted(self.names)}
        return {name: conditions for name, conditions in known.items() if conditions is not None}

    def turn(self, switches: Sequence[Switch]) -> None:
        """Make these switches, one after the other. Raises as `switch`."""
        for switch in switches:
            self.switch(switch.compiled)

    def switch(self, name: str) -> None:
        """From here on this compiled step serves the shapes that it was made for; "": the traced one serves.

        Raises:
            StateError: as `of`.
        """
        if not name:
            self.names.clear()
            self._bound.clear()
            for shape in self._shapes.values():
                shape.serving = None
            return
        self.names.add(name)
        for shape in self._shapes.values():
            if shape.tested is not None and shape.tested.name == name:
                self._serve(shape, shape.tested)
        if name not in self._bound and self._compiled is not None:
            for shape in self._shapes.values():
                self._rebind(self._compiled, shape)

    def lost(self) -> list[str]:
        """The names in use that no compiled step answers to."""
        compiled = self._compiled
        unbound = self.names - self._bound
        if not unbound:
            return []
        return sorted(name for name in unbound if compiled is None or compiled.conditions(name) is None)

    def _first(self, compiled: CompiledSteps, state: State, episode: Episode[Tensor], count: int) -> Shape:
        traced = self._steps.traced(state, episode)
        if traced is None:
            if self._required:
                raise ConfigError(_TOO_MANY)
            return _TRACED
        step = TracedStep(*traced, count, self._steps.predicts)
        shape = Shape(
            classes=self._steps.classes(state, episode),
            step=step,
            key=key_of(step.update, step.inputs, count),
            made_for=step.shapes,
        )
        self._rebind(compiled, shape)
        if shape.serving is None:
            shape.candidate = self._candidate(compiled, step)
        return shape

    def _candidate(self, compiled: CompiledSteps, step: TracedStep) -> Compiled | None:
        """A compiled step that could take over, of those that this process may choose."""
        if self.following:
            if self._required:
                raise ConfigError(_LEARNED_TRACED)
            return None
        return compiled.require(step) if self._required else compiled.find(step)

    def _rebind(self, compiled: CompiledSteps, shape: Shape) -> None:
        """Let the step that state, order log or recording name serve the shapes that it was made for."""
        for name in sorted(self.names - self._bound):
            if shape.step is None or shape.serving is not None:
                return
            conditions = compiled.conditions(name)
            made_for = conditions or self._told.get(name)
            if made_for is not None and made_for.shapes != shape.made_for:
                continue
            try:
                found = compiled.named(shape.step, name)
            except ConfigError as error:
                raise StateError(f"{LOST.format(name, 'it cannot be compiled again')}\n{error}") from error
            if found is not None:
                self._serve(shape, found)
            elif self.recovering or self.following:
                raise StateError(LOST.format(name, _why_lost(made_for)))
            elif (
                conditions is not None
            ):  # of these shapes, and yet another step than these would be compiled to
                self.take_over([Switch(), *map(Switch, sorted(self.names - {name}))])

    def _serve(self, shape: Shape, compiled: Compiled) -> None:
        self._bound.add(compiled.name)
        shape.serving, shape.candidate, shape.tested = compiled, None, None


def _why_lost(conditions: Conditions | None) -> str:
    if conditions is None:
        return "the cache does not hold it"
    return (
        "; ".join(conditions.unlike(conditions_here())) or "it was made of other code, or by another compiler"
    )


_TRACED = Shape()
