"""Where a series' time jumps: a window across it would put values side by side that are not."""

from typing import Final

import numpy as np

from streammeta.datasets.table import Rows
from streammeta.events import Array

_REGULAR_SHARE: Final = 0.9
_REGULAR_BAND: Final = 0.15  # months have 28 to 31 days
_OF_STEP: Final = 1.5
_OF_LONG_STEP: Final = 10.0


def usual_gaps(rows: Rows) -> dict[str, float]:
    """By task, the longest step of time that is none, in the unit of the times; without times none.

    Of a task with regular steps (nine of ten within 15 % of their median) 1.5 of the median; of any other ten
    times the step that nine of ten do not exceed, so that nights and weekends are no jumps.

    >>> hours = np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99])
    >>> usual_gaps(Rows(["a"] * 12, np.zeros((12, 0)), hours, hours))
    {'a': 1.5}
    """
    if rows.times is None:
        return {}
    names, codes = np.unique(np.array(rows.tasks, dtype=object).astype(str), return_inverse=True)
    order = np.lexsort((rows.times, codes))
    times = rows.times[order]
    ends = np.flatnonzero(np.diff(codes[order])) + 1
    gaps = {str(n): _gap(np.diff(t)) for n, t in zip(names, np.split(times, ends), strict=True) if len(t) > 2}
    return {name: gap for name, gap in gaps.items() if gap > 0}


def _gap(steps: Array) -> float:
    median = float(np.median(steps))
    if np.mean(np.abs(steps - median) <= _REGULAR_BAND * median) >= _REGULAR_SHARE:
        return _OF_STEP * median
    return _OF_LONG_STEP * float(np.quantile(steps, 0.9, method="higher"))
