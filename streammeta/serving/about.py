"""What can be asked of a task: before a person asks, a page wants to know."""

from typing import NamedTuple

import numpy as np

from streammeta.errors import NoAnswer
from streammeta.events import Array, Batch
from streammeta.serving.asking import Ask, Kind, View
from streammeta.serving.predictor import Predictor


class About(NamedTuple):
    """What can be asked of a task.

    Attributes:
        task: The task.
        at: At which parameters, without a support set.
        curve: Whether the model makes one number of one number, so that its answers are a curve.
        examples: The labelled examples that the task's buffer holds; None for none, or no curve.
    """

    task: str
    at: list[Kind]
    curve: bool
    examples: Batch[Array] | None


def about(predictor: Predictor, view: View, task: str) -> About:
    """Costs one prediction."""
    curve = _makes_curves(predictor, view, task)
    known = view.task(task)
    examples = known.examples if curve and known is not None else None
    return About(task, predictor.kinds(view, task), curve, examples)


def _makes_curves(predictor: Predictor, view: View, task: str) -> bool:
    """Tried, for a model tells its shapes in no other way."""
    try:
        (answer,) = predictor.predict(view, [Ask(task, np.zeros((1, 1)), at="meta")])
    except NoAnswer:
        return False
    return answer.y.shape == (1, 1) and np.issubdtype(answer.y.dtype, np.floating)
