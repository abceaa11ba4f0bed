"""Forecasts in the table's unit, put to their hours: a learner gives them scaled, as the stream goes."""

from collections.abc import Mapping

import numpy as np

from streammeta.datasets.table import Rows
from streammeta.events import Array
from streammeta.reproduce.m4.stream import examples_of
from streammeta.reproduce.m4_network import HOURS


def units_of(rows: Rows) -> dict[str, Array]:
    """Level and scale of each example's target, (examples, 2), by series.

    >>> rows = Rows(["a"] * 26, np.zeros((26, 0)), np.arange(26.0), None)
    >>> units_of(rows)["a"][:, 0].tolist()
    [11.5, 12.0]
    """
    units: dict[str, list[tuple[float, float]]] = {}
    for example in examples_of(rows):
        units.setdefault(example.task, []).append((example.level, example.scale))
    return {task: np.array(pairs) for task, pairs in units.items()}


class Forecasts:
    """Of all series.

    Attributes:
        values: By series, aligned with its values; NaN where there is no forecast.
    """

    def __init__(self, units: Mapping[str, Array]) -> None:
        self._units = units
        self.values = {task: np.full(HOURS + len(pairs), np.nan) for task, pairs in units.items()}

    def put(self, task: str, number: int, scaled: float) -> None:
        """The forecast of a series' example with this number, counted from 0."""
        level, scale = self._units[task][number]
        self.values[task][HOURS + number] = scaled * scale + level
