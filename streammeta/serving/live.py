"""The state of an engine as it stands: for who asks in the thread that learns."""

from streammeta.algorithms.base import State
from streammeta.events import Array, Batch
from streammeta.learner.engine import Engine
from streammeta.serving.asking import Known


class LiveState:
    """A `View` of an engine between two events; whole, because nobody learns while it is looked at."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._state = engine.state

    @property
    def state(self) -> State:
        """A copy of the learner's."""
        return self._state

    @property
    def events(self) -> int:
        """Events learned."""
        return self._engine.learned

    def task(self, task: str) -> Known | None:
        """What the engine, or its store, knows of the task."""
        entry = self._engine.memories.get(task)
        events, memory = self._engine.known(task) or (0, entry.memory[:0])
        if not events and entry.buffer.empty:
            return None
        return Known(events, entry.memory[: len(memory)].cpu().numpy(), entry.buffer.examples)


class InHand:
    """A `View` of an engine between two iterations of a chunk, for a question of one task."""

    def __init__(self, engine: Engine, examples: Batch[Array] | None) -> None:
        """`examples`: the labelled ones that the task had gathered when it asked."""
        self._engine = engine
        self._examples = examples

    @property
    def state(self) -> State:
        """The learner's, on the CPU."""
        state = self._engine.standing
        return state if state.params.device.type == "cpu" else on_cpu(state)

    @property
    def events(self) -> int:
        """Events learned."""
        return self._engine.learned

    def task(self, task: str) -> Known | None:
        """What the engine knows of the task, which is loaded."""
        events, memory = self._engine.known(task) or (0, self._engine.standing.params[:0])
        if not events and self._examples is None:
            return None
        return Known(events, memory.cpu().numpy(), self._examples)


def on_cpu(state: State) -> State:
    """A copy there."""
    return State(
        state.params.cpu(),
        {name: tensor.cpu() for name, tensor in state.outer.items()},
        {name: tensor.cpu() for name, tensor in state.slots.items()},
        state.inner_lr.cpu(),
        state.meta_lr.cpu(),
    )
