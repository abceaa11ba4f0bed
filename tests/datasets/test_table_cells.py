"""Values as tools write them: text, numbers, what stands for none."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from streammeta.datasets.table import series, table
from streammeta.datasets.table_cells import Notation
from streammeta.datasets.table_data import Reading, load_rows
from streammeta.errors import ConfigError
from tests.tables import CLOCK, ROLES, parquet, sales


@pytest.mark.parametrize(
    "shops",
    [
        pa.array(["A", "B"]).dictionary_encode(),
        pa.array(["A", "B"], pa.large_string()),
        pa.array(["A", "B"]),
    ],
)
def test_text_of_any_encoding(shops: Any, tmp_path: Path) -> None:
    """Dictionary, large, plain."""
    assert load_rows(sales(tmp_path / "a.parquet", shop=shops), ROLES).tasks == ["A", "B"]


def test_numeric_tasks_are_the_same_with_missing_ones(tmp_path: Path) -> None:
    """A 1 that became 1.0 is 1."""
    assert load_rows(sales(tmp_path / "a.parquet", shop=[1.0, 2.0]), ROLES).tasks == ["1", "2"]


@pytest.mark.parametrize("prices", [[Decimal("1.00"), Decimal("2.00")], [1, 2], ["1", "2"], [b"1", b"2"]])
def test_numbers_of_any_type(prices: list[Any], tmp_path: Path) -> None:
    """Decimals, integers, text, bytes."""
    path = sales(tmp_path / "a.parquet", price=prices)
    assert load_rows(path, ROLES).features[:, 0].tolist() == [1.0, 2.0]


@pytest.mark.parametrize("prices", [[1.0, float("nan")], [1, None], [True, None], ["1", "-"], ["1", "n/a"]])
def test_missing_numbers(prices: list[Any], tmp_path: Path) -> None:
    """NaN, null and the usual markers."""
    reading = Reading("skip")
    path = sales(tmp_path / "a.parquet", price=prices)
    assert load_rows(path, ROLES, reading).features.tolist() == [[1.0]]
    assert reading.skipped == {"price": 1}


@pytest.mark.parametrize("prices", [[1.0, -999.0], [1, -999], ["1", "-999.0"]])
def test_a_marker_that_is_a_number(prices: list[Any], tmp_path: Path) -> None:
    """--na -999 holds in numeric columns too."""
    reading = Reading("skip", notation=Notation(frozenset({"-999"})))
    assert load_rows(sales(tmp_path / "a.parquet", price=prices), ROLES, reading).tasks == ["A"]


def test_a_nested_column_matters_only_where_it_is_used(tmp_path: Path) -> None:
    """Beside the used ones it is not read."""
    path = sales(tmp_path / "a.parquet", more=[[1], [2]])
    assert load_rows(path, ROLES).tasks == ["A", "A"]
    with pytest.raises(ConfigError, match=r"column 'more', row 1: .* is no number"):
        load_rows(path, ROLES._replace(features=("more",)))


def test_a_negative_zero_is_zero(tmp_path: Path) -> None:
    """As a task and as a number."""
    path = sales(tmp_path / "a.parquet", shop=[-0.0, 0.0], price=[-0.0, 0.0])
    rows = load_rows(path, ROLES)
    assert rows.tasks == ["0", "0"]
    assert [e.examples.x.item() for e in table(rows)] == [0.0, 0.0]


@pytest.mark.parametrize("prices", [pa.nulls(2), pa.array([None, None], pa.string()), ["", "NA"]])
def test_a_column_without_any_value(prices: Any, tmp_path: Path) -> None:
    """Named, where skipping leaves no row."""
    path = sales(tmp_path / "a.parquet", price=prices)
    with pytest.raises(ConfigError, match=r"no row has a value in every used .* one: 'price' 2 rows"):
        load_rows(path, ROLES, Reading("skip"))
    with pytest.raises(ConfigError, match="column 'price', row 1: no value"):
        load_rows(path, ROLES)


@pytest.mark.parametrize("features", [("price", "price"), ("price", "sold")])
def test_a_column_used_twice(features: tuple[str, ...], tmp_path: Path) -> None:
    """A feature that is the target would tell the answer; time and task may be features."""
    path = sales(tmp_path / "a.parquet", shop=[7, 7])
    with pytest.raises(ConfigError, match=f"column '{features[1]}' is used twice"):
        load_rows(path, ROLES._replace(features=features))
    assert load_rows(path, ROLES._replace(features=("day", "shop"))).features.tolist() == [[1, 7], [2, 7]]


@pytest.mark.parametrize(("kind", "step"), [(pa.float16(), 1e-3), (pa.float32(), 3e-8)])
def test_rounding_of_short_floats_is_no_scale(kind: Any, step: float, tmp_path: Path) -> None:
    """One value in the last digits of its type."""
    values = pa.array(np.array([0.3, 0.3 + step] * 6 + [0.31], kind.to_pandas_dtype()))
    path = parquet(tmp_path / "a.parquet", s=["m"] * 13, v=values)
    *_, last = series(load_rows(path, CLOCK._replace(time=None)), window=2, horizon=1)
    assert len(set(values.to_pylist())) == 3
    assert last.scale == 1.0
