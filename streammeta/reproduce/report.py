"""What an experiment found: rows beside the published figures, panels to plot, notes on how to judge them."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

Scale = Literal["linear", "log"]

Progress = Callable[[str, int, int], None]
"""(what runs, steps done, steps in all): told now and then."""


class Measured(NamedTuple):
    """A mean with its spread, of the kind that the report names; none where there is but one value."""

    mean: float
    spread: float | None = None

    @classmethod
    def over(cls, values: Sequence[float]) -> "Measured":
        """Mean and standard deviation over seeds, as the papers take it: divided by n, not n − 1.

        >>> Measured.over([1.0, 3.0])
        Measured(mean=2.0, spread=1.0)
        >>> Measured.over([2.0])
        Measured(mean=2.0, spread=None)
        """
        return cls(statistics.fmean(values), statistics.pstdev(values) if len(values) > 1 else None)


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        method: Which algorithm.
        setting: Under which setting.
        measured: Figures in the order of the report's measures.
        published: The paper's figure for the first measure.
    """

    method: str
    setting: str
    measured: tuple[Measured, ...]
    published: Measured | None = None

    @property
    def deviations(self) -> float | None:
        """How many published standard deviations the first figure is from the published one.

        >>> Row("MAML", "K = 1", (Measured(0.9),), Measured(0.8, 0.1)).deviations
        1.0
        """
        if self.published is None or not self.published.spread:
            return None
        return round((self.measured[0].mean - self.published.mean) / self.published.spread, 2)


class Curve(NamedTuple):
    """A line; with `spread` a band around it."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    spread: Sequence[float] = ()


class Panel(NamedTuple):
    """One set of axes."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    x_scale: Scale = "linear"
    y_scale: Scale = "linear"


@dataclass(frozen=True)
class Report:
    """The result of one experiment.

    Attributes:
        name: As on the command line.
        title: What was done, in a line.
        measures: What the figures of a row are.
        spread: What their spread is, such as "sd".
        rows: The table.
        panels: The plot.
        notes: What a reader must know to judge the figures.
    """

    name: str
    title: str
    measures: tuple[str, ...]
    spread: str
    rows: Sequence[Row]
    panels: Sequence[Panel]
    notes: Sequence[str] = ()


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The order p of y ≈ c xᵖ: least squares through the logarithms.

    >>> round(slope([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    return statistics.linear_regression([math.log(v) for v in x], [math.log(v) for v in y]).slope
