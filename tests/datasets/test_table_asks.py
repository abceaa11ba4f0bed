"""Tables that ask: rows without a target, and what follows the end of a series."""

from pathlib import Path

import numpy as np
import pytest

from streammeta.datasets.table import Rows, Tally, series, table
from streammeta.datasets.table_data import Reading, Roles, load_rows
from streammeta.errors import ConfigError
from tests.tables import csv, parquet

NAN = float("nan")


class TestReading:
    """Which rows ask."""

    def test_a_row_without_a_target_is_kept(self, tmp_path: Path) -> None:
        """By any marker of no value; a row without a feature is refused as ever."""
        path = csv(tmp_path / "a.csv", "shop,day,price,sold\nA,1,1.5,3\nA,2,2.5,\nA,3,3.5,NA\n")
        rows = load_rows(path, Roles("shop", ("price",), "sold", "day"), Reading(asks=True))
        assert rows.features.tolist() == [[1.5], [2.5], [3.5]]
        assert np.isnan(rows.targets).tolist() == [False, True, True]
        assert rows.times is not None
        assert rows.times.tolist() == [1, 2, 3]
        lacks = csv(tmp_path / "b.csv", "shop,price,sold\nA,,\n")
        with pytest.raises(ConfigError, match="column 'price', row 1: no value"):
            load_rows(lacks, Roles("shop", ("price",), "sold", None), Reading(asks=True))

    @pytest.mark.parametrize("time", ["day", None])
    def test_a_table_without_the_column(self, time: str | None, tmp_path: Path) -> None:
        """All its rows ask; features and times are where they belong."""
        path = parquet(tmp_path / "a.parquet", shop=["A", "B"], day=[7, 8], price=[1.5, 2.5])
        rows = load_rows(path, Roles("shop", ("price",), None, time), Reading(asks=True))
        assert rows.features.tolist() == [[1.5], [2.5]]
        assert np.isnan(rows.targets).all()
        assert (None if rows.times is None else rows.times.tolist()) == (time and [7, 8])


def test_a_request_is_scaled_by_what_was_shown_before() -> None:
    """Features by all earlier rows, the target's level and scale by those that had one; it teaches none."""
    features = np.array([[1.0], [5.0], [9.0], [4.0], [7.0]])
    targets = np.array([2.0, 8.0, NAN, 5.0, NAN])
    found = list(table(Rows(["a"] * 5, features, targets, None)))
    assert [example.asks for example in found] == [False, False, True, False, True]
    for place in (2, 4):
        shown, told = features[:place, 0], targets[:place][~np.isnan(targets[:place])]
        example = found[place]
        assert example.examples.x.item() == pytest.approx((features[place, 0] - shown.mean()) / shown.std())
        assert (example.level, example.scale) == pytest.approx((told.mean(), told.std()))
    learned = found[3]
    assert (learned.level, learned.scale) == pytest.approx((5.0, 3.0))
    assert learned.examples.y.tolist() == [[0.0]]


def test_what_cannot_be_scaled_is_counted() -> None:
    """A task that showed no target yet, and one whose series is shorter than a window."""
    tally = Tally()
    rows = Rows(["a", "b", "a"], np.ones((3, 1)), np.array([1.0, NAN, NAN]), None)
    assert [example.task for example in table(rows, warm_up=1, tally=tally)] == ["a"]
    assert (tally.warm_up, tally.asked, tally.unasked) == ({"a": 1}, 1, {"b": 1})
    tally = Tally()
    short = Rows(["a"] * 4 + ["b"], np.zeros((5, 0)), np.arange(5.0), None)
    assert [one.task for one in series(short, window=3, horizon=1, ask=True, tally=tally)] == ["a", "a"]
    assert (tally.asked, tally.unasked) == (1, {"b": 1})


def test_classes_ask_without_a_scale() -> None:
    """A class number has none; the features have that of the earlier rows, whether these ask or not."""
    features = np.array([[1.0], [3.0], [4.0]])
    found = list(table(Rows(["a"] * 3, features, np.full(3, NAN), None), scale_target=False, warm_up=2))
    assert [(example.examples.x.tolist(), example.level, example.scale) for example in found] == [
        ([[2.0]], 0.0, 1.0)
    ]


@pytest.mark.parametrize("horizon", [1, 2])
def test_a_series_asks_behind_its_last_value(horizon: int) -> None:
    """Its last values, scaled by all of them, where they end among those of others; the examples stay."""
    values = {"a": [3.0, 4.0, 9.0, 1.0, 5.0, 12.0], "b": [2.0, 7.0, 1.0, 8.0]}
    placed = sorted((time, task) for task in values for time in range(len(values[task])))
    rows = Rows(
        [task for _, task in placed],
        np.zeros((len(placed), 0)),
        np.array([values[task][time] for time, task in placed]),
        np.array([float(time) for time, _ in placed]),
    )
    found = list(series(rows, window=2, horizon=horizon, ask=True))
    asked = {example.task: example for example in found if example.asks}
    assert repr([example for example in found if not example.asks]) == repr(
        list(series(rows, window=2, horizon=horizon))
    )
    for task, example in asked.items():
        shown = np.array(values[task])
        expected = (shown[-2:] - shown.mean()) / shown.std()
        assert example.examples.x[0].tolist() == pytest.approx(expected.tolist(), rel=1e-6)
        assert (example.level, example.scale) == pytest.approx((shown.mean(), shown.std()))
        assert example.time == len(shown) - 1
    assert [*asked] == ["b", "a"]
    assert found[-1].asks
    assert not found[-2].asks


def test_a_series_asks_from_behind_a_jump_of_time() -> None:
    """Where the jump left less than a window, it cannot ask."""
    times = np.array([0.0, 1, 2, 3, 10, 11])
    rows = Rows(["a"] * 6, np.zeros((6, 0)), np.arange(6.0) ** 2, times)
    tally = Tally()
    *_, last = series(rows, window=2, horizon=1, scaling="none", gaps={"a": 2.0}, ask=True, tally=tally)
    assert last.asks
    assert last.examples.x.tolist() == [[16.0, 25.0]]
    assert [*series(rows, window=3, horizon=1, gaps={"a": 2.0}, ask=True, tally=tally)][-1].asks is False
    assert tally.unasked == {"a": 1}
