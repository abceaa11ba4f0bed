"""Tables as tools write them: every kind by a small file made here, and by the shared ones where they lie."""

import gzip
import subprocess
import sys
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streammeta.datasets.table import Rows, Tally, series, table
from streammeta.datasets.table_cells import Notation
from streammeta.datasets.table_data import Reading, Roles, load_rows
from streammeta.datasets.table_files import Dialect
from streammeta.datasets.table_gaps import usual_gaps
from streammeta.errors import ConfigError

ROLES = Roles("shop", ("price",), "sold", "day")
CLOCK = Roles("s", (), "v", "time")
SHARED = Path("/work/shared/cases/tables")
BERLIN = ZoneInfo("Europe/Berlin")
DAY = 86_400.0
NEW_YEAR = 1_704_067_200.0
"""2024-01-01 in UTC."""


def parquet(path: Path, **columns: Any) -> Path:
    """A Parquet file of these columns."""
    pq.write_table(pa.table(columns), path)
    return path


def csv(path: Path, text: str, encoding: str = "utf-8") -> Path:
    """A file of this text."""
    path.write_bytes(text.encode(encoding))
    return path


def shared_or(name: str, made: Path) -> list[Path]:
    """The file made here, and the shared one of this name where it is."""
    return [made, *filter(Path.exists, [SHARED / name])]


def sales(path: Path, **changed: Any) -> Path:
    """Two rows of one shop; some columns changed."""
    columns = {"shop": ["A", "A"], "day": [1, 2], "price": [1.0, 2.0], "sold": [3, 4]}
    return parquet(path, **{**columns, **changed})


class TestShared:
    """The inputs that failed, one each."""

    def test_a_date_is_a_time(self, tmp_path: Path) -> None:
        """As seconds since 1970, in their order."""
        made = sales(tmp_path / "a.parquet", day=[date(2024, 1, 1), date(2024, 1, 2)])
        for path in shared_or("date32.parquet", made):
            rows = load_rows(path, ROLES)
            assert rows.dated
            assert rows.times is not None
            assert rows.times.tolist() == [NEW_YEAR, NEW_YEAR + DAY]

    def test_bytes_are_text(self, tmp_path: Path) -> None:
        """A task id in bytes is the text that they are."""
        made = sales(tmp_path / "a.parquet", shop=[b"shop-1", b"shop-2"])
        for path in shared_or("binary_task.parquet", made):
            assert load_rows(path, ROLES).tasks == ["shop-1", "shop-2"]

    def test_a_row_without_a_time_can_be_skipped(self, tmp_path: Path) -> None:
        """It is counted under its column, and refused without the option."""
        made = csv(tmp_path / "a.csv", "shop,day,price,sold\nA,2024-01-01,1.2,3\nA,,1.5,3\n")
        for path in shared_or("missing_date.csv", made):
            reading = Reading("skip")
            assert load_rows(path, ROLES, reading).targets.tolist() == [3.0]
            assert reading.skipped == {"day": 1}
            with pytest.raises(ConfigError, match="column 'day', row 2: no value"):
                load_rows(path, ROLES)

    def test_a_sheet_with_decimal_commas(self, tmp_path: Path) -> None:
        """By its delimiter and its mark; without them the error names the option that is missing."""
        made = csv(tmp_path / "a.csv", "shop;day;price;sold\nA;2024-01-01;1,20;3\nA;2024-01-02;22,3;4\n"
                                       "B;2024-01-01;1.234,56;5\n")  # fmt: skip
        for path in shared_or("semicolon.csv", made):
            reading = Reading(dialect=Dialect(";"), notation=Notation(decimal=","))
            assert load_rows(path, ROLES, reading).features[:, 0].tolist() == [1.2, 22.3, 1234.56]
            with pytest.raises(ConfigError, match="try --delimiter ';'"):
                load_rows(path, ROLES)
            with pytest.raises(ConfigError, match="row 1: '1,20' is no number; name its decimal mark"):
                load_rows(path, ROLES, Reading(dialect=Dialect(";")))

    def test_rounding_is_no_scale(self, tmp_path: Path) -> None:
        """A column of one value, rounded differently, has scale 1."""
        values = ["0.30000000000000004", "0.3"] * 6 + ["0.31"]
        lines = [f"m1,{t},{value}" for t, value in enumerate(values)]
        made = csv(tmp_path / "a.csv", "\n".join(["meter,t,value", *lines]))
        for path in shared_or("nearly_constant.csv", made):
            *_, last = series(load_rows(path, Roles("meter", (), "value", "t")), window=2, horizon=1)
            assert last.examples.y.item() == pytest.approx(0.01)
            assert last.scale == 1.0

    def test_a_hole_breaks_windows(self, tmp_path: Path) -> None:
        """No window has both sides of it; it is counted."""
        hours = [*range(48), *range(120, 168)]
        made = csv(tmp_path / "a.csv", "\n".join(["series,time,value", *(f"s1,{h},{h % 24}" for h in hours)]))
        for path in shared_or("hole.csv", made):
            rows, tally = load_rows(path, Roles("series", (), "value", "time")), Tally()
            found = list(series(rows, window=24, horizon=1, gaps=usual_gaps(rows), tally=tally))
            assert (len(found), tally.jumps) == (48, {"s1": 1})
            assert len(list(series(rows, window=24, horizon=1))) == 72

    def test_an_hour_that_comes_twice(self, tmp_path: Path) -> None:
        """Named with its row, or told apart by the order of the file."""
        clocks = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
        lines = [f"m,2023-10-29 {clock}:00,{value}" for value, clock in enumerate(clocks)]
        made = csv(tmp_path / "a.csv", "\n".join(["s,time,v", *lines]))
        for path in shared_or("dst_naive.csv", made):
            with pytest.raises(ConfigError, match="'2023-10-29 02:00:00' comes twice in Europe/Berlin"):
                load_rows(path, CLOCK, Reading(zone=BERLIN))
            times = load_rows(path, CLOCK, Reading(zone=BERLIN, ambiguous="order")).times
            assert times is not None
            assert set(np.diff(times)) == {1800.0}


class TestTimes:
    """Others of the kind."""

    @pytest.mark.parametrize(
        "text",
        ["2024-01-01", "2024-01", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00 UTC",
         "2024-01-01 01:00:00 +0100", "2024-01-01T00:00:00.000000000+00:00", "2023-12-31T19:00:00-05:00"],
    )  # fmt: skip
    def test_dates_in_text(self, text: str, tmp_path: Path) -> None:
        """Months, days, offsets, fractions."""
        times = load_rows(csv(tmp_path / "a.csv", f"s,time,v\nm,{text},1\n"), CLOCK).times
        assert times is not None
        assert times.tolist() == [NEW_YEAR]

    @pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
    @pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
    def test_timestamps_of_any_unit(self, unit: str, zone: str | None, tmp_path: Path) -> None:
        """With a zone they are moments; without one, clocks of --timezone; null is missing."""
        stamps = pa.array([datetime(2024, 1, 1, 1), None]).cast(pa.timestamp(unit, zone))
        path = parquet(tmp_path / "a.parquet", s=["m", "m"], time=stamps, v=[1.0, 2.0])
        times = load_rows(path, CLOCK, Reading("skip", zone=BERLIN)).times
        assert times is not None
        assert times.tolist() == [NEW_YEAR + (3600 if zone else 0)]

    def test_a_clock_that_never_was(self, tmp_path: Path) -> None:
        """Clocks went forward over it."""
        path = csv(tmp_path / "a.csv", "s,time,v\nm,2024-03-31 02:30,1\n")
        with pytest.raises(ConfigError, match="row 1: '2024-03-31 02:30' does not exist in Europe/Berlin"):
            load_rows(path, CLOCK, Reading(zone=BERLIN))

    def test_numbers_and_dates_are_not_mixed(self, tmp_path: Path) -> None:
        """The first value says which they are."""
        path = csv(tmp_path / "a.csv", "s,time,v\nm,1700000000,1\nm,2024-01-01,1\n")
        with pytest.raises(ConfigError, match="column 'time', row 2: '2024-01-01' is no number"):
            load_rows(path, CLOCK)


class TestCells:
    """Others of the kind."""

    @pytest.mark.parametrize(
        "shops",
        [
            pa.array(["A", "B"]).dictionary_encode(),
            pa.array(["A", "B"], pa.large_string()),
            pa.array(["A", "B"]),
        ],
    )
    def test_text_of_any_encoding(self, shops: Any, tmp_path: Path) -> None:
        """Dictionary, large, plain."""
        assert load_rows(sales(tmp_path / "a.parquet", shop=shops), ROLES).tasks == ["A", "B"]

    def test_numeric_tasks_are_the_same_with_missing_ones(self, tmp_path: Path) -> None:
        """A 1 that became 1.0 is 1."""
        assert load_rows(sales(tmp_path / "a.parquet", shop=[1.0, 2.0]), ROLES).tasks == ["1", "2"]

    @pytest.mark.parametrize("prices", [[Decimal("1.00"), Decimal("2.00")], [1, 2], ["1", "2"], [b"1", b"2"]])
    def test_numbers_of_any_type(self, prices: list[Any], tmp_path: Path) -> None:
        """Decimals, integers, text, bytes."""
        path = sales(tmp_path / "a.parquet", price=prices)
        assert load_rows(path, ROLES).features[:, 0].tolist() == [1.0, 2.0]

    @pytest.mark.parametrize(
        "prices", [[1.0, float("nan")], [1, None], [True, None], ["1", "-"], ["1", "n/a"]]
    )
    def test_missing_numbers(self, prices: list[Any], tmp_path: Path) -> None:
        """NaN, null and the usual markers."""
        reading = Reading("skip")
        path = sales(tmp_path / "a.parquet", price=prices)
        assert load_rows(path, ROLES, reading).features.tolist() == [[1.0]]
        assert reading.skipped == {"price": 1}

    @pytest.mark.parametrize("prices", [[1.0, -999.0], [1, -999], ["1", "-999.0"]])
    def test_a_marker_that_is_a_number(self, prices: list[Any], tmp_path: Path) -> None:
        """--na -999 holds in numeric columns too."""
        reading = Reading("skip", notation=Notation(frozenset({"-999"})))
        assert load_rows(sales(tmp_path / "a.parquet", price=prices), ROLES, reading).tasks == ["A"]

    def test_a_nested_column_matters_only_where_it_is_used(self, tmp_path: Path) -> None:
        """Beside the used ones it is not read."""
        path = sales(tmp_path / "a.parquet", more=[[1], [2]])
        assert load_rows(path, ROLES).tasks == ["A", "A"]
        with pytest.raises(ConfigError, match=r"column 'more', row 1: .* is no number"):
            load_rows(path, ROLES._replace(features=("more",)))


class TestFiles:
    """Others of the kind."""

    TEXT = "shop,day,price,sold,day,note\nA,1,1,3,x,é\n"

    def test_a_column_twice_matters_only_where_it_is_used(self, tmp_path: Path) -> None:
        """So does a cell larger than Python's own limit."""
        path = csv(tmp_path / "a.csv", self.TEXT.replace("é", "e" * 200_000))
        assert load_rows(path, ROLES._replace(time=None)).tasks == ["A"]
        with pytest.raises(ConfigError, match="2 columns are named 'day'"):
            load_rows(path, ROLES)

    @pytest.mark.parametrize(
        ("encoding", "name"), [("utf-8-sig", "utf-8"), ("latin-1", "latin-1"), ("utf-16", "utf-16")]
    )
    def test_encodings(self, encoding: str, name: str, tmp_path: Path) -> None:
        """A byte order mark, one byte a character, two."""
        path = csv(tmp_path / "a.csv", self.TEXT, encoding)
        roles = ROLES._replace(task="note", time=None)
        assert load_rows(path, roles, Reading(dialect=Dialect(encoding=name))).tasks == ["é"]

    def test_another_encoding_is_named(self, tmp_path: Path) -> None:
        """With the option that mends it."""
        path = csv(tmp_path / "a.csv", self.TEXT, "latin-1")
        with pytest.raises(ConfigError, match="byte 0xe9 is not utf-8; name the file's encoding"):
            load_rows(path, ROLES._replace(time=None))

    def test_lines_in_quotes_and_of_windows(self, tmp_path: Path) -> None:
        """A line break within quotes is a part of the value."""
        path = csv(tmp_path / "a.csv", 'shop,day,price,sold\r\n"A\nB",1,2,3\r\n')
        assert load_rows(path, ROLES).tasks == ["A\nB"]

    def test_a_quote_that_is_not_closed(self, tmp_path: Path) -> None:
        """It would swallow the rest of the table."""
        path = csv(tmp_path / "a.csv", 'shop,day,price,sold\nA,1,2,"3\nB,1,2,3\n')
        with pytest.raises(ConfigError, match=r"row 1 .*mend its quotes"):
            load_rows(path, ROLES)

    def test_compressed_under_any_name(self, tmp_path: Path) -> None:
        """The first bytes say how."""
        text = b"shop,day,price,sold\nA,1,2,3\n"
        path = tmp_path / "a.csv"
        for packed in (gzip.compress(text), pa.compress(text, codec="zstd", asbytes=True)):
            path.write_bytes(packed)
            if packed[:2] == b"\x1f\x8b":
                assert load_rows(path, ROLES).tasks == ["A"]
        with pa.CompressedOutputStream(str(path), "zstd") as out:
            out.write(text)
        assert load_rows(path, ROLES).tasks == ["A"]

    def test_nothing_in_it(self, tmp_path: Path) -> None:
        """An empty file is refused; a header alone is a table without rows."""
        with pytest.raises(ConfigError, match="the file is empty"):
            load_rows(csv(tmp_path / "a.csv", ""), ROLES)
        assert load_rows(csv(tmp_path / "b.csv", "shop,day,price,sold\n"), ROLES).tasks == []


def test_the_used_columns_alone_fill_memory(tmp_path: Path) -> None:
    """Of 400,000 rows of 19 columns 4 are read: the peak grows by less than the file's numbers take."""
    rows, draws = 400_000, np.random.default_rng(0)
    path = parquet(
        tmp_path / "a.parquet",
        zone=draws.integers(0, 260, rows),
        at=np.arange(rows).astype("datetime64[us]"),
        **{f"c{place}": draws.normal(size=rows) for place in range(17)},
    )
    code = (
        "import resource, sys; from pathlib import Path; from streammeta.datasets.table_data import Roles, load_rows;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "import pyarrow.parquet; before = peak();"
        "rows = load_rows(Path(sys.argv[1]), Roles('zone', ('c3',), 'c7', 'at'));"
        "print(len(rows.targets), peak() - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    found, kilobytes = map(int, done.stdout.split())
    assert found == rows
    assert kilobytes * 1024 < rows * 19 * 8


class TestWarmUp:
    """First rows only scale."""

    def test_they_are_counted_and_not_sent(self) -> None:
        """The rows behind them are those of before, to the bit."""
        draws = np.random.default_rng(0)
        rows = Rows(["a", "b"] * 8, draws.normal(size=(16, 2)), draws.normal(size=16), None)
        tally = Tally()
        found = list(table(rows, warm_up=3, tally=tally))
        assert tally.warm_up == {"a": 3, "b": 3}
        assert repr(found) == repr(list(table(rows))[6:])

    def test_a_series_counts_the_values_of_its_first_window(self) -> None:
        """A window as long as the warm-up loses nothing."""
        rows = Rows(["a"] * 9, np.zeros((9, 0)), np.arange(9.0), None)
        tally = Tally()
        assert len(list(series(rows, window=3, horizon=1, warm_up=3, tally=tally))) == 6
        assert len(list(series(rows, window=3, horizon=1, warm_up=5, tally=tally))) == 4
        assert tally.warm_up == {"a": 2}


class TestGaps:
    """What is no jump."""

    @pytest.mark.parametrize("days", [[d for d in range(70) if d % 7 < 5], np.cumsum([31, 28, 31, 30] * 6)])
    def test_weekends_and_months_are_none(self, days: Any) -> None:
        """Steps that the calendar makes."""
        times = np.array(days, float)
        rows = Rows(["a"] * len(times), np.zeros((len(times), 0)), times, times)
        assert max(np.diff(times)) < usual_gaps(rows)["a"]
