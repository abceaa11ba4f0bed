"""M4 hourly at a tiny size, through a real broker: its figures against plain loops of NumPy."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streammeta.errors import ConfigError, StreammetaError
from streammeta.events import Array
from streammeta.models.loading import load_network
from streammeta.models.network import unflatten
from streammeta.reproduce.m4 import experiment as m4_
from streammeta.reproduce.m4.experiment import NAIVE, RIVER, m4
from streammeta.reproduce.m4_network import HIDDEN_GAIN
from streammeta.reproduce.report import Report
from streammeta.stream.embedded.broker import broker_available
from tests.reproduce.quiet import quiet

SERIES, HOURS = 4, 60
ZERO: Any = {"loss": "mse", "seed": 0, "dtype": "float32", "device": "cpu"}
LENGTHS = (HOURS, HOURS, HOURS, HOURS - 7)

pytestmark = pytest.mark.skipif(not broker_available(), reason="no broker wheel for this platform")


def waves(seed: int = 0) -> dict[str, list[float]]:
    """Daily waves with a drift and noise; one ends earlier."""
    draws = np.random.default_rng(seed)
    return {
        f"H{s + 1}": [
            100.0 * (s + 1) + 20 * math.sin(hour / 24 * 2 * math.pi + s) + hour / 3 + draws.normal()
            for hour in range(LENGTHS[s])
        ]
        for s in range(SERIES)
    }


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A row an hour, series by series."""
    path = tmp_path / "long.csv"
    rows = [f"{name},{t},{value!r}" for name, values in waves().items() for t, value in enumerate(values)]
    path.write_text("\n".join(["series,t,value", *rows]) + "\n")
    return path


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A row a series, blanks at its end."""
    path = tmp_path / "wide.csv"
    header = ",".join(["V1", *(f"V{hour + 2}" for hour in range(HOURS))])
    rows = [
        ",".join([name, *map(repr, values), *[""] * (HOURS - len(values))])
        for name, values in waves().items()
    ]
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def scaled(values: list[float], at: int) -> tuple[Array, float, float, float]:
    """Window and target of hour `at` by the values before it, as floats of the wire; level and scale."""
    past = np.array(values[:at])
    level, scale = float(past.mean()), float(past.std())
    numbers = ((np.array(values[at - 24 : at + 1]) - level) / scale).astype(np.float32).astype(float)
    return numbers[:24], float(numbers[24]), level, scale


def forward(p: dict[str, Array], x: Array) -> tuple[float, Array, float, Array]:
    """The network's forecast by its formula; z, min(s, 1) and the hidden layer."""
    s = x.std() + 1e-3
    z, k = (x - x.mean()) / s, min(s, 1.0)
    h = np.maximum(p["hidden.weight"] @ z + p["hidden.bias"], 0)
    inner = (p["weight_gain"] * p["weight"]) @ z + HIDDEN_GAIN * p["last.weight"][0] @ h
    return float(x[0] + p["level_gain"] * p["level"] + k * inner), z, k, h


def gradient(p: dict[str, Array], x: Array, y: float) -> dict[str, Array]:
    """Of the squared error, by the chain rule."""
    f, z, k, h = forward(p, x)
    e = 2 * (f - y)
    below = e * k * HIDDEN_GAIN * p["last.weight"][0] * (h > 0)
    return {
        "level": np.array(e * p["level_gain"]),
        "level_gain": np.array(e * p["level"]),
        "weight": e * k * z * p["weight_gain"],
        "weight_gain": e * k * z * p["weight"],
        "hidden.weight": np.outer(below, z),
        "hidden.bias": below,
        "last.weight": e * k * HIDDEN_GAIN * h[None],
    }


def by_hand(values: list[float]) -> list[float]:
    """A network of the series' own: forecasts from hour 26 on, each before its hour is learned from."""
    network = load_network("streammeta.reproduce.m4_network:forecaster", {}, **ZERO)
    p = {
        name: value.double().numpy().copy()
        for name, value in unflatten(network.layout, network.initial).items()
    }
    rate, longest = m4_.LEARNERS["independent"].outer["lr"], m4_.LEARNERS["independent"].outer["clip_norm"]
    forecasts = []
    for hour in range(25, len(values)):
        (sx, sy, _, _), (x, y, level, scale) = scaled(values, hour - 1), scaled(values, hour)
        if hour > 25:
            forecasts.append(forward(p, x)[0] * scale + level)
        one, two = gradient(p, sx, sy), gradient(p, x, y)
        mean = {name: (one[name] + two[name]) / 2 for name in p}
        norm = math.sqrt(sum(float((g**2).sum()) for g in mean.values()))
        p = {name: p[name] - rate * mean[name] * min(1.0, longest / norm) for name in p}
    return forecasts


def judged(forecasts: dict[str, list[float]]) -> list[float]:
    """The report's figures of forecasts from hour 26 on, by plain loops."""
    smapes, errors = [], []
    for name, values in waves().items():
        off = [abs(y - f) for y, f in zip(values[26:], forecasts[name], strict=True)]
        naive = [abs(y - before) for y, before in zip(values[24:], values[:-24], strict=True)]
        sizes = [abs(y) + abs(f) for y, f in zip(values[26:], forecasts[name], strict=True)]
        smapes.append(sum(200 * o / size for o, size in zip(off, sizes, strict=True)) / len(off))
        errors.append(sum(off) / len(off) / (sum(naive) / len(naive)))
    smape, error = sum(smapes) / SERIES, sum(errors) / SERIES
    return [smape, error, smape, error, (sorted(errors)[1] + sorted(errors)[2]) / 2]


def figures(report: Report) -> dict[str, list[float]]:
    """By method."""
    return {row.method: [figure.mean for figure in row.measured] for row in report.rows}


def test_the_figures_are_those_of_plain_loops(long: Path) -> None:
    """Through broker, recording and the daemon's loop: each example predicted, then learned from, once."""
    found = figures(m4(quiet, data=long, methods=("independent",)))
    naive = {name: values[2:-24] for name, values in waves().items()}
    own = {name: by_hand(values) for name, values in waves().items()}
    assert found == {
        NAIVE: pytest.approx(judged(naive), rel=1e-12),
        "a network per series": pytest.approx(judged(own), rel=1e-4),
    }
    assert found["a network per series"][1] < 0.9 * found[NAIVE][1]


def test_both_forms_of_the_table_and_every_method(long: Path, wide: Path) -> None:
    """M4's own form gives the same figures to the last bit; every method has its row, curves and numbers."""
    report = m4(quiet, data=wide, wide=True)
    of_one = figures(m4(quiet, data=long, methods=("independent", "river")))
    assert of_one.items() <= figures(report).items()
    assert len(of_one) == 3
    assert {row.method for row in report.rows} == {NAIVE, RIVER} | {
        name for learner in m4_.LEARNERS.values() for name in learner.phases
    }
    assert np.isfinite([*figures(report).values()]).all()
    assert [[curve.x for curve in panel.curves] for panel in report.panels] == [
        [[48.0]] * len(report.rows)
    ] * 2


def test_a_part_of_the_table_can_be_taken(long: Path) -> None:
    """The first series, the first hours of each."""
    report = m4(quiet, data=long, methods=("online_sgd",), count=3, hours=50)
    assert "3 series, 150 hours" in report.title


def test_river_that_is_not_installed_is_named(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before minutes of work; the other methods do without it."""
    monkeypatch.setitem(sys.modules, "river", None)
    with pytest.raises(ConfigError, match="pip install 'streammeta\\[reproduce\\]'"):
        m4(quiet, data=long)


def test_a_series_that_is_too_short_is_named(long: Path) -> None:
    """With what to do."""
    with pytest.raises(ConfigError, match="series 'H1' is shorter than 48 hours; leave it out"):
        m4(quiet, data=long, hours=47)


def test_a_network_that_runs_away_is_named(long: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not finite, so the record would be a dead letter: there is no fair table without it."""
    wild = m4_.LEARNERS["online_sgd"]._replace(outer={"name": "sgd", "lr": 1e30})
    monkeypatch.setitem(m4_.LEARNERS, "online_sgd", wild)
    with pytest.raises(StreammetaError, match="take smaller rates for online_sgd"):
        m4(quiet, data=long, methods=("online_sgd",))
