"""The state of an engine as it stands: for who asks in the thread that learns."""

from streammeta.algorithms.base import State
from streammeta.learner.engine import Engine
from streammeta.serving.asking import Known


class LiveState:
    """A `View` of an engine between two chunks; whole, because nobody learns while it is looked at."""

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
        return self._engine.progress.events

    def task(self, task: str) -> Known | None:
        """What the engine, or its store, knows of the task."""
        entry = self._engine.memories.get(task)
        if not entry.stats.events and entry.buffer.empty:
            return None
        memory = entry.memory if entry.stats.remembered else entry.memory[:0]
        return Known(entry.stats.events, memory.cpu().numpy(), entry.buffer.examples)
