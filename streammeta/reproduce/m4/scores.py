"""How good forecasts are: sMAPE, and the error on the scale of the seasonal-naive forecast, hour by hour.

Both as M4 has them (Makridakis, Spiliotis, Assimakopoulos 2020), but for forecasts of the next hour along the
whole series. An hour without forecast is NaN and counts nowhere.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streammeta.events import Array
from streammeta.reproduce.m4_network import HOURS
from streammeta.reproduce.report import Measured

FIRST_HOURS = 100


class Errors(NamedTuple):
    """Of all series, (series, hours) each, NaN where there is no forecast or no value.

    Attributes:
        smape: 200 |y − f| / (|y| + |f|), in percent.
        scaled: |y − f| / mean |y_t − y_{t−24}| over the whole series, as MASE scales.
    """

    smape: Array
    scaled: Array


def errors(values: Mapping[str, Array], forecasts: Mapping[str, Array]) -> Errors:
    """Those of forecasts that are aligned with the values, by series.

    >>> found = errors({"a": np.arange(26.0)}, {"a": np.arange(26.0) + 12})
    >>> found.scaled[0, :2].tolist(), found.smape[0, :2].tolist()
    ([0.5, 0.5], [200.0, 171.42857142857142])
    """
    longest = max(map(len, values.values()))
    shape = (len(values), longest)
    found = Errors(np.full(shape, np.nan), np.full(shape, np.nan))
    for row, (task, value) in enumerate(values.items()):
        off = np.abs(value - forecasts[task])
        size = np.abs(value) + np.abs(forecasts[task])
        found.smape[row, : len(value)] = 200 * off / np.where(size > 0, size, 1.0)
        naive = np.nanmean(np.abs(value - day_before(value)))
        found.scaled[row, : len(value)] = off / naive if naive > 0 else np.nan
    return found


def day_before(values: Array) -> Array:
    """The seasonal-naive forecasts: what was 24 hours ago; NaN where nothing was."""
    return np.concatenate((np.full(HOURS, np.nan), values[:-HOURS]))


def summary(found: Errors) -> tuple[Measured, ...]:
    """In the order of `MEASURES`: means over series of a series' mean, with half of their 95 % interval."""
    early = Errors(*(error[:, :FIRST_HOURS] for error in found))
    means = (of_series(error) for error in (found.smape, found.scaled, early.smape, early.scaled))
    return (*map(_mean, means), Measured(float(np.median(of_series(found.scaled)))))


MEASURES = (
    "sMAPE",
    "scaled error",
    f"sMAPE, first {FIRST_HOURS} h",
    f"scaled, first {FIRST_HOURS} h",
    "median scaled",
)


def of_series(error: Array) -> Array:
    """The mean of each series that has any, (series,)."""
    known = ~np.isnan(error)
    some = known.any(1)
    means: Array = np.where(known, error, 0.0).sum(1)[some] / known.sum(1)[some]
    return means


def by_day(error: Array) -> tuple[Sequence[float], Sequence[float]]:
    """Ends of days, in hours, and means over all series; days without forecasts are left out."""
    days = [(end, error[:, end - HOURS : end]) for end in range(HOURS, error.shape[1] + 1, HOURS)]
    known = [(end, day[~np.isnan(day)]) for end, day in days]
    return [float(end) for end, day in known if len(day)], [float(day.mean()) for _, day in known if len(day)]


def _mean(values: Array) -> Measured:
    if len(values) < 2:
        return Measured(float(values.mean()) if len(values) else float("nan"))
    return Measured(float(values.mean()), float(1.96 * values.std(ddof=1) / len(values) ** 0.5))
