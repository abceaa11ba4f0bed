"""Tables as streams: read as they stand, in the order of time, scaled by the past alone."""

import gzip
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.datasets.table import Rows, series, table
from streammeta.datasets.table_data import Reading, Roles, load_rows, load_wide
from streammeta.datasets.table_scaling import Past, Scaling
from streammeta.errors import ConfigError, StreammetaError

ROLES = Roles("who", ("a", "b"), "y", "at")
ROWS = [("x", "2020-01-02T00:00:00Z", 1.0, 2.0, 3.0), ("z", "2020-01-01", 4.5, 5.0, 6.0)]
CSV = "who,at,a,b,y\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS)


def series_of(values: list[float], task: str = "s") -> Rows:
    """One series."""
    return Rows([task] * len(values), np.zeros((len(values), 0)), np.array(values), None)


class TestReading:
    """Files into rows."""

    @pytest.fixture(params=["csv", "csv.gz", "parquet"])
    def path(self, request: pytest.FixtureRequest, tmp_path: Path) -> Path:
        """The same table in each form."""
        path = tmp_path / f"table.{request.param}"
        if request.param == "parquet":
            columns = dict(zip(("who", "at", "a", "b", "y"), zip(*ROWS, strict=True), strict=True))
            pq.write_table(pa.table({name: list(values) for name, values in columns.items()}), path)
        else:
            path.write_bytes(gzip.compress(CSV.encode()) if path.suffix == ".gz" else CSV.encode())
        return path

    def test_every_form_gives_the_same_rows(self, path: Path) -> None:
        """Columns by name, dates as seconds since 1970 (without a zone: UTC)."""
        rows = load_rows(path, ROLES)
        assert rows.tasks == ["x", "z"]
        assert rows.features.tolist() == [[1.0, 2.0], [4.5, 5.0]]
        assert rows.targets.tolist() == [3.0, 6.0]
        assert rows.times is not None
        assert rows.times.tolist() == [1577923200.0, 1577836800.0]
        assert rows.dated

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("a", "b", "y"), "no column 'c'; its columns are who, at, a, b, y"),
            (("4.5", "4,5"), "row 2 has 6 values, the header names 5"),
            (("4.5", "four"), "column 'a', row 2: 'four' is no number; correct the table"),
            (("4.5", "inf"), "column 'a', row 2: 'inf' is not finite; correct the table"),
            (("4.5", ""), "column 'a', row 2: no value; fill it, or leave such rows out: --missing skip"),
            (("2020-01-01", "soon"), "column 'at', row 2: 'soon' is neither a number nor a date"),
            (("\nz,", "\n,"), "column 'who', row 2: no value; fill it"),
            (("who,at", "who,who"), "2 columns are named 'who'; the first line must name a used column once"),
        ],
    )
    def test_what_is_wrong_is_named(self, change: tuple[str, ...], message: str, tmp_path: Path) -> None:
        """Column, row and value; the first row below the header is row 1."""
        path = tmp_path / "table.csv"
        path.write_text(CSV if len(change) == 3 else CSV.replace(change[0], change[1], 1))
        roles = ROLES._replace(features=("a", "c")) if len(change) == 3 else ROLES
        with pytest.raises(ConfigError) as caught:
            load_rows(path, roles)
        assert message in str(caught.value)
        assert str(path) in str(caught.value)

    def test_a_misspelt_column_is_guessed(self, path: Path) -> None:
        """The nearest one is named."""
        with pytest.raises(ConfigError, match="no column 'whoo'; did you mean 'who'"):
            load_rows(path, ROLES._replace(task="whoo"))

    @pytest.mark.parametrize("name", ["none.csv", "none.parquet"])
    def test_a_missing_file_is_named(self, name: str, tmp_path: Path) -> None:
        """With the forms that are read."""
        with pytest.raises(ConfigError, match=r"no such file; name a \.csv"):
            load_rows(tmp_path / name, ROLES)

    @pytest.mark.parametrize(("name", "code"), [("bad.csv", 78), ("bad.csv.gz", 78), ("bad.parquet", 65)])
    def test_a_file_of_another_kind_is_refused(self, name: str, code: int, tmp_path: Path) -> None:
        """Never a traceback."""
        path = tmp_path / name
        path.write_bytes(b"\xff\xfe\x00no table")
        with pytest.raises(StreammetaError, match=name) as refused:
            load_rows(path, ROLES)
        assert refused.value.exit_code == code

    def test_rows_without_a_value_can_be_left_out(self, tmp_path: Path) -> None:
        """The others stay in their order."""
        path = tmp_path / "table.csv"
        path.write_text(CSV.replace("4.5", "NA"))
        assert load_rows(path, ROLES, Reading("skip")).tasks == ["x"]

    def test_a_wide_table_is_series_side_by_side(self, tmp_path: Path) -> None:
        """As M4's own files: a series a row, blanks at the end of the shorter ones."""
        path = tmp_path / "wide.csv"
        path.write_text('"V1","V2","V3","V4"\n"H1",1,2,3\n"H2",4,5,\n')
        rows = load_wide(path, None)
        assert [e.examples.x.item() for e in series(rows, window=1, horizon=1, scaling="none")] == [1, 4, 2]
        path.write_text("id,a,b\nH1,,2\n")
        with pytest.raises(ConfigError, match="column 'a', row 1: no value, but one follows"):
            load_wide(path, "id")


class TestScaling:
    """Only what a task showed before."""

    @given(values=st.lists(st.floats(-100, 100), min_size=6, max_size=30), data=st.data())
    def test_a_later_value_changes_no_earlier_example(self, values: list[float], data: st.DataObject) -> None:
        """Of a series, whatever the scaling; and an example's own target changes nothing but itself."""
        scaling: Scaling = data.draw(st.sampled_from(["past", "window", "none"]))
        place = data.draw(st.integers(4, len(values) - 1))
        changed = [*values]
        changed[place] += 7.0
        before, after = (
            list(series(series_of(each), window=3, horizon=2, scaling=scaling)) for each in (values, changed)
        )
        unaware = place - 4  # the first example with this value among its targets
        assert repr(before[:unaware]) == repr(after[:unaware])
        for one, other in zip(before[unaware : unaware + 2], after[unaware : unaware + 2], strict=False):
            assert one.examples.x.tobytes() == other.examples.x.tobytes()
            assert (one.level, one.scale) == (other.level, other.scale)

    @given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
    def test_the_past_is_its_mean_and_deviation(self, values: list[float]) -> None:
        """As NumPy computes them from all values at once."""
        past = Past(1)
        for value in values:
            past.add(np.array([value]))
        level, scale = (float(column[0]) for column in past.moments())
        assert level == pytest.approx(np.mean(values), rel=1e-9, abs=1e-6)
        if len(values) > 1 and np.std(values) > 1e-3:
            assert scale == pytest.approx(np.std(values), rel=1e-6)

    def test_a_forecast_can_be_brought_back(self) -> None:
        """Y times scale plus level is the value in the table."""
        values = [3.0, 4.0, 9.0, 1.0, 5.0, 12.0]
        examples = list(series(series_of(values), window=2, horizon=1))
        found = [example.examples.y.item() * example.scale + example.level for example in examples]
        assert found == pytest.approx(values[2:], rel=1e-6)
        assert len({example.scale for example in examples}) > 1

    def test_rows_are_scaled_by_earlier_rows_of_their_task(self) -> None:
        """Each column by itself; classes stay class numbers."""
        rows = Rows(
            ["a", "b", "a", "a"],
            np.array([[1.0], [50.0], [3.0], [4.0]]),
            np.array([0.0, 1.0, 1.0, 2.0]),
            np.array([0.0, 1.0, 2.0, 3.0]),
        )
        examples = list(table(rows, scale_target=False))
        assert [example.examples.y.tolist() for example in examples] == [[0.0], [1.0], [1.0], [2.0]]
        assert [example.examples.x.item() for example in examples] == [1.0, 50.0, 2.0, 2.0]


def test_time_is_the_order_across_tasks() -> None:
    """Rows of equal times stay as they stand in the file."""
    rows = Rows(
        ["a", "a", "b", "b"], np.zeros((4, 0)), np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 0.0, 1.0])
    )
    found = [(e.task, e.examples.y.item()) for e in series(rows, window=1, horizon=1, scaling="none")]
    assert found == [("a", 2.0), ("b", 4.0)]
    late = Rows(rows.tasks, rows.features, rows.targets, np.array([5.0, 6.0, 0.0, 1.0]))
    assert [e.task for e in series(late, window=1, horizon=1)] == ["b", "a"]
