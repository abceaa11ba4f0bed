"""M4 hourly, 414 series side by side: the next hour, forecast before it is learned from.

Every learner goes through the daemon's own loop over one recording: the same examples in the same order, cut
into episodes of one support example and one query example (`[events] kind = "examples"`). All have the same
network and ten meta-updates an hour. Rates and clipping were sought by trial on 60 series drawn at random,
for the least scaled error over all their hours.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from streammeta.config import Config
from streammeta.datasets.table import Rows
from streammeta.errors import StreammetaError
from streammeta.events import Array
from streammeta.outcomes import Learned, Outcome, Refused
from streammeta.programs.comparison import learn
from streammeta.programs.replay import of_recording
from streammeta.recording.reader import Recording
from streammeta.recording.selection import ALL
from streammeta.reproduce.m4.forecasts import Forecasts, units_of
from streammeta.reproduce.m4.river import SETTING as RIVER_SETTING
from streammeta.reproduce.m4.river import learn_by_river, require_river
from streammeta.reproduce.m4.scores import MEASURES, by_day, day_before, errors, summary
from streammeta.reproduce.m4.stream import TOLD_EVERY, load, recorded, values_of
from streammeta.reproduce.m4_network import HOURS
from streammeta.reproduce.report import Curve, Panel, Progress, Report, Row
from streammeta.runtime.controls import Controls

SUPPORT: Final = 1
FIRST: Final = HOURS + SUPPORT + 1
"""The first hour that is scored, from 0: the second episode's, for at the first one no task has a memory."""
UPDATES_AN_HOUR: Final = 10


class Learner(NamedTuple):
    """What one pass over the recording learns with, and which of its predictions are reported.

    Attributes:
        algorithm, outer: Their tables.
        setting: The same in short.
        phases: Name in the table -> 0: at w, 1: after one adaptation, 2: at the task's memory.
    """

    algorithm: Mapping[str, Any]
    outer: Mapping[str, Any]
    setting: str
    phases: Mapping[str, int]


LEARNERS: Final[dict[str, Learner]] = {
    "moml": Learner(
        {"name": "moml", "inner_lr": 0.4, "beta": 0.9},
        {"name": "adam", "lr": 1e-4},
        "α 0.4, β 0.9, adam 1e-4",
        {"MOML, adapted meta-model": 1, "MOML, memory": 2},
    ),
    "independent": Learner(
        {"name": "independent"},
        {"name": "sgd", "lr": 0.4, "momentum": 0.0, "clip_norm": 0.5},
        "sgd 0.4, clipped",
        {"a network per series": 2},
    ),
    "online_sgd": Learner(
        {"name": "online_sgd"}, {"name": "adam", "lr": 3e-3}, "adam 3e-3", {"one network for all": 0}
    ),
}
METHODS: Final = (*LEARNERS, "river")
NAIVE: Final = "seasonal naive (24 h ago)"
RIVER: Final = "River, linear regression per series"
SETTINGS: Final = {name: learner.setting for learner in LEARNERS.values() for name in learner.phases} | {
    RIVER: RIVER_SETTING
}


def m4(
    progress: Progress,
    *,
    data: Path,
    wide: bool = False,
    methods: Sequence[str] = METHODS,
    count: int | None = None,
    hours: int | None = None,
) -> Report:
    """Forecast every hour with each method; `count` series and `hours` of each, None for all.

    Raises:
        ConfigError: the data cannot be used, or River is not installed.
        StreammetaError: no broker is installed, or an update was not finite.
    """
    if "river" in methods:
        require_river()
    rows = load(data, wide=wide, count=count, hours=hours)
    values = values_of(rows)
    found = {
        name: errors(values, _scored(forecasts))
        for name, forecasts in _forecasts(rows, values, methods, progress).items()
    }
    return Report(
        "m4",
        f"M4 hourly, {len(values)} series, {sum(map(len, values.values())):,} hours, an hour ahead",
        MEASURES,
        "95 % over series; scaled: by the seasonal-naive forecast's mean error of the series",
        [Row(name, SETTINGS.get(name, ""), summary(error)) for name, error in found.items()],
        [
            _panel("scaled error", {name: error.scaled for name, error in found.items()}),
            _panel("sMAPE, %", {name: error.smape for name, error in found.items()}),
        ],
        (f"scored: from hour {FIRST + 1} of each series on",),
    )


def _forecasts(
    rows: Rows, values: Mapping[str, Array], methods: Sequence[str], progress: Progress
) -> dict[str, Mapping[str, Array]]:
    """By name in the table, by series."""
    found: dict[str, Mapping[str, Array]] = {NAIVE: {task: day_before(v) for task, v in values.items()}}
    units = units_of(rows)
    with tempfile.TemporaryDirectory() as folder:
        recording = recorded(rows, Path(folder) / "recording", progress)
        for learner in (LEARNERS[name] for name in LEARNERS if name in methods):
            tell = partial(progress, str(learner.algorithm["name"]))
            found |= {n: f.values for n, f in _learned(learner, recording, units, tell).items()}
    if "river" in methods:
        by_river = Forecasts(units)
        learn_by_river(rows, by_river, partial(progress, "river"))
        found[RIVER] = by_river.values
    return found


def _panel(title: str, found: Mapping[str, Array]) -> Panel:
    curves = [Curve(name, *by_day(error)) for name, error in found.items()]
    return Panel(f"{title}, means of a day", "hours since the series began", title, curves, "log")


def _scored(forecasts: Mapping[str, Array]) -> dict[str, Array]:
    """Without the hours at which not all methods have forecasts."""
    return {task: np.where(np.arange(len(hours)) < FIRST, np.nan, hours) for task, hours in forecasts.items()}


def config_of(learner: Learner, series: int) -> Config:
    """The configuration that learns from so many series."""
    return Config.model_validate(
        {
            "model": {"factory": "streammeta.reproduce.m4_network:forecaster"},
            "algorithm": dict(learner.algorithm),
            "outer": dict(learner.outer),
            "events": {
                "kind": "examples",
                "support": SUPPORT,
                "query": 1,
                "batch": max(1, series // UPDATES_AN_HOUR),
            },
        }
    )


def _learned(
    learner: Learner, recording: Recording, units: Mapping[str, Array], tell: Callable[[int, int], None]
) -> dict[str, Forecasts]:
    """The forecasts of each of its phases."""
    found = {name: Forecasts(units) for name in learner.phases}

    def collect(outcome: Outcome) -> None:
        if isinstance(outcome, Refused):
            raise StreammetaError(f"{outcome.message}; take smaller rates for {learner.algorithm['name']}")
        if not isinstance(outcome, Learned):
            return
        for row in outcome.rows():
            if row.predictions is None:
                continue
            number, predicted = SUPPORT + row.task_events - 1, row.predictions.flatten().tolist()
            for name, phase in learner.phases.items():
                found[name].put(row.task, number, predicted[phase])
            if row.events % TOLD_EVERY == 0:
                tell(row.events, recording.rows - SUPPORT * len(units))

    config = of_recording(config_of(learner, len(units)), recording)
    learn(config, recording, ALL, (collect,), Controls(), predicts=True)
    return found
