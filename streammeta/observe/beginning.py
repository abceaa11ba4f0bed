"""What a state's losses were at first, with which later ones are compared; from its curves."""

from typing import Final, NamedTuple

import numpy as np

from streammeta.observe.catalogue import PHASES
from streammeta.observe.history import Curve
from streammeta.observe.track import Numbers

FIRST_EVENTS: Final = 50
"""Events whose mean is the first value of a loss."""


class First(NamedTuple):
    """Mean losses over the first events, NaN where none is known, and over how many."""

    events: int
    meta: float
    adapted: float
    memory: float


def first_of(curve: Curve) -> First | None:
    """Of as many buckets of the curve over events as hold them; None for an empty one."""
    if not len(curve.weights):
        return None
    buckets = int(np.searchsorted(np.cumsum(curve.weights), FIRST_EVENTS)) + 1
    weights = curve.weights[:buckets]
    losses = (curve.buckets[:buckets, curve.columns.index(f"loss_{phase}")] for phase in PHASES)
    return First(int(weights.sum()), *(_mean(column, weights) for column in losses))


def _mean(values: Numbers, weights: Numbers) -> float:
    known = np.isfinite(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else float("nan")
