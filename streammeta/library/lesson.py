"""What events taught, as a program is told."""

from collections.abc import Mapping
from typing import NamedTuple

from streammeta.errors import BadEvent
from streammeta.evaluation.drift import Detection
from streammeta.learner.engine import Engine
from streammeta.outcomes import LearnedRow


class Lesson(NamedTuple):
    """What one event taught: losses of its query set before it was learned from, and what moved.

    Attributes:
        task: The task.
        events: Events learned in all, this one included.
        task_events: Those of the task.
        loss_meta, loss_adapted, loss_memory: At w, after one adaptation, at the task's memory; NaN where
            there is none.
        gradient_norm, update_norm, tracking_error: ‖v‖, ‖w' − w‖, ‖u_i − (w − α∇l(w;S))‖.
        drift: Told by this event, if the task's losses got worse; only where drift is looked for.
    """

    task: str
    events: int
    task_events: int
    loss_meta: float
    loss_adapted: float
    loss_memory: float
    gradient_norm: float
    update_norm: float
    tracking_error: float
    drift: Detection | None = None


class Taught(NamedTuple):
    """What many events taught: how many were learned from, and those refused by their place, with why."""

    events: int
    refused: Mapping[int, BadEvent]


def newest_lesson(engine: Engine) -> Lesson:
    """What the event that was learned last taught, before its chunk is folded."""
    placed, _, _, drift = engine.newest
    _finite, *numbers = placed.group.numbers_of(placed.place)
    memories, slot = engine.memories, placed.slot
    task_events = int(memories.stats.reset_after[slot]) + int(memories.visits[slot])
    return Lesson._make((placed.event.task, engine.learned, task_events, *numbers, drift))


def lesson_of(row: LearnedRow) -> Lesson:
    """The same, from the loop's own row."""
    return Lesson(*(getattr(row, name) for name in Lesson._fields))
