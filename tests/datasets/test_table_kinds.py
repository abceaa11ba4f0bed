"""Tables as tools write them: every kind by a small file made here, and by the shared ones where they lie."""

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from streammeta.datasets.table import Rows, Tally, series, table
from streammeta.datasets.table_cells import Notation
from streammeta.datasets.table_data import Reading, Roles, load_rows
from streammeta.datasets.table_files import Dialect
from streammeta.datasets.table_gaps import usual_gaps
from streammeta.errors import ConfigError
from tests.tables import BERLIN, CLOCK, DAY, NEW_YEAR, ROLES, csv, parquet, sales, shared_or


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

    def test_an_hour_that_comes_twice_is_seen_without_a_zone(self, tmp_path: Path) -> None:
        """Refused with its row and both remedies; in order of UTC where that is said."""
        clocks = ["01:30", "02:00", "02:30", "02:00", "02:30", "03:00"]
        lines = [f"m,2023-10-29 {clock}:00,{value}" for value, clock in enumerate(clocks)]
        made = csv(tmp_path / "a.csv", "\n".join(["s,time,v", *lines]))
        for path in shared_or("dst_naive.csv", made):
            with pytest.raises(
                ConfigError, match=r"row [45]: '2023-10-29 02:00:00' comes after a later"
            ) as told:
                load_rows(path, CLOCK)
            assert "--timezone Europe/Berlin --ambiguous order; if it is UTC: --timezone UTC" in str(
                told.value
            )
            assert load_rows(path, CLOCK, Reading(zone=ZoneInfo("UTC"))).dated


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
        "import resource, sys; from pathlib import Path;"
        "from streammeta.datasets.table_data import Roles, load_rows;"
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
