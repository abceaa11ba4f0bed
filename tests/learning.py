"""Learning as the loop does it, without a loop."""

from collections.abc import Sequence

from streammeta.events import TaskEvent
from streammeta.learner.engine import Engine
from streammeta.learner.folded import Folded
from streammeta.state.store import TaskRow


def nothing_stored(tasks: Sequence[str]) -> list[TaskRow | None]:
    """Reads tasks from a store that knows none."""
    return [None] * len(tasks)


def learn(engine: Engine, *events: TaskEvent) -> Folded:
    """One iteration, a chunk of its own. When it is refused, the chunk ends all the same."""
    tasks = [one.task for one in events]
    placed = [engine.place(one) for one in events]
    engine.load(tasks)
    try:
        engine.learn(placed)
    finally:
        folded = engine.fold(tasks)
    assert folded is not None
    return folded
