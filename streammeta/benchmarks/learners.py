"""Our own contenders: the step alone, and the engine with all that surrounds it but Kafka."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from streammeta.benchmarks.peers.problem import Problem
from streammeta.benchmarks.rows import Plan
from streammeta.config import Config, load_config
from streammeta.errors import ConfigError
from streammeta.events import Array, Batch, Episode, TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.executors.chunk import example_chunk
from streammeta.learner.executors.compiled import CompiledSteps
from streammeta.learner.executors.process import TracedStep
from streammeta.learner.executors.serving import Executors
from streammeta.learner.flat import state_tensors
from streammeta.runtime.blueprint import build_blueprint, restore
from streammeta.runtime.compiling import compiled_steps_cache
from streammeta.state.memories import Memories
from streammeta.state.memory_store import MemoryStore

CHUNK: Final = 64
"""Events that a call of the engine takes, as from a poll."""
CACHE_TASKS: Final = 1000


def compiled_or_why(plan: Plan) -> tuple[CompiledSteps | None, str]:
    """Where compiled steps come from, or why there are none."""
    if plan.executor == "off":
        return None, "small sizes run on traced steps" if plan.size == "small" else "no C++ compiler"
    try:
        return CompiledSteps(compiled_steps_cache(load_config(None, [], {}))), ""
    except ConfigError as error:
        return None, str(error)


class Learner:
    """The engine over a problem, `CHUNK` events a call: placed, learned in turn, folded.

    Attributes:
        engine: Stands at the first parameters until the first call.
    """

    def __init__(self, made: Problem, compiled: CompiledSteps | None, config: Config) -> None:
        """Where there are compiled steps, the first iteration serves to compare and to switch to them."""
        blueprint, store = build_blueprint(config), MemoryStore()
        begun, empty = (
            restore(blueprint, store),
            blueprint.network.initial.new_zeros(blueprint.learner.memory_size),
        )
        executors = Executors(blueprint.steps, compiled, required=compiled is not None)
        first = torch.from_numpy(made.initial.copy()) if made.initial.size else blueprint.network.initial
        self._given = [
            TaskEvent(f"task-{task}", episode, 0)
            for task, episode in zip(made.tasks, made.episodes, strict=True)
        ]
        self._batch = config.events.batch

        def engine() -> Engine:
            memories = Memories(store.get_many, empty, CACHE_TASKS)
            state = blueprint.learner.init(first)
            return Engine(
                blueprint.network, blueprint.steps, state, begun.progress, memories, executors=executors
            )

        self.engine = engine()
        if compiled is not None:
            self(0)
            for name in executors.look():
                executors.switch(name)
            self.engine = engine()

    def __call__(self, number: int) -> None:
        """Learn from the events from this number on."""
        engine, events = self.engine, self._given[number : number + CHUNK]
        tasks = [event.task for event in events]
        placed = [engine.place(event) for event in events]
        engine.load(tasks)
        for begin in range(0, len(placed), self._batch):
            engine.learn(placed[begin : begin + self._batch])
        engine.fold(tasks)


class CompiledStep:
    """The compiled step alone, on tables that are filled already: an iteration a call, in place."""

    def __init__(self, made: Problem, compiled: CompiledSteps, batch: int = 1) -> None:
        """`batch`: events of an iteration; those from a multiple of it on."""
        blueprint = build_blueprint(load_config(None, [f"events.batch={batch}"], {}))
        state = blueprint.learner.init(torch.from_numpy(made.initial.copy()))
        count, events = len(state_tensors(state)), len(made.tasks)
        episodes = [Episode(*(Batch(*map(torch.from_numpy, sets)) for sets in e)) for e in made.episodes]
        first = Episode(*(_stacked(sets) for sets in zip(*episodes[:batch], strict=True)))
        traced = blueprint.steps.traced(state, first)
        if traced is None:
            raise ConfigError("the step is not traced, so it cannot be compiled")
        self._run = compiled.require(TracedStep(*traced, count, blueprint.steps.predicts)).run
        rows = blueprint.network.initial.new_zeros(events, blueprint.learner.memory_size)
        columns = [array for sets in zip(*episodes, strict=True) for array in _stacked(sets)]
        inputs = [*state_tensors(state), rows, rows.new_zeros(events), *columns]
        *self._tables, _ = example_chunk(inputs, count, None)
        slots = self._tables[count + 2]
        slots[:events] = torch.tensor(made.tasks)
        self._index = torch.split(torch.arange(events), batch)
        self._batch, self._events = batch, events

    def __call__(self, number: int) -> None:
        """Learn from the iteration that begins with this event."""
        self._run([*self._tables, self._index[number // self._batch]])

    @property
    def numbers(self) -> Array:
        """What was reported of each event, columns as `executors.chunk.NUMBERS`."""
        return self._tables[-1][: self._events].numpy()


def _stacked(sets: Sequence[Batch[Tensor]]) -> Batch[Tensor]:
    return Batch(*(torch.stack(column) for column in zip(*sets, strict=True)))
