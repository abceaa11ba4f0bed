"""Times in text, in numbers and of Arrow; clocks that go back."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from streammeta.datasets.table_data import Reading, load_rows
from streammeta.datasets.table_times import TimeUnit
from streammeta.errors import ConfigError
from tests.tables import BERLIN, CLOCK, NEW_YEAR, csv, parquet


@pytest.mark.parametrize(
    ("clocks", "zone"),
    [
        (["2023-11-05 01:45", "2023-11-05 01:59", "2023-11-05 01:00"], "America/New_York"),
        (["2023-10-29 01:00", "2023-10-29 01:30", "2023-10-29 01:00"], "Europe/London"),
        (["2023-10-29 00:00", "2023-10-29 02:30", "2023-10-29 02:00"], "Europe/Berlin"),
        (["2024-04-07 01:00", "2024-04-07 02:30", "2024-04-07 02:00"], "Australia/Sydney"),
        (["2023-10-28 01:00", "2023-10-28 02:30", "2023-10-28 02:00"], None),  # clocks go on
        (["2023-10-29 03:00", "2023-10-29 02:30", "2023-10-29 02:00"], None),  # the newest first
        (["2023-10-29 01:00", "2023-10-29 05:30", "2023-10-29 02:00"], None),  # too far back
        (["2023-10-29 01:00", "2023-10-29 02:30", "2023-10-29 02:30"], None),  # rows of one time
        (["2023-10-29 01:00Z", "2023-10-29 02:30Z", "2023-10-29 02:00Z"], None),  # a zone of their own
        (["2023-10-29", "2023-10-30", "2023-10-29"], None),
    ],
)
def test_which_steps_back_are_of_clocks(clocks: list[str], zone: str | None, tmp_path: Path) -> None:
    """Of a task whose rows else rise, in an hour that comes twice somewhere; each task by itself."""
    lines = [line for clock in clocks for line in (f"m,{clock},1", "n,2023-01-01 00:00,1")]
    path = csv(tmp_path / "a.csv", "\n".join(["s,time,v", *lines]))
    if zone is None:
        assert len(load_rows(path, CLOCK).targets) == 6
    else:
        with pytest.raises(ConfigError, match=f"row 5: .* of task 'm'.*--timezone {zone} "):
            load_rows(path, CLOCK)


def test_timestamps_without_a_zone_are_looked_at_too(tmp_path: Path) -> None:
    """Across pieces and beside missing ones."""
    stamps = [datetime(2023, 10, 29, 1), None, datetime(2023, 10, 29, 2, 30), datetime(2023, 10, 29, 2)]
    path = parquet(tmp_path / "a.parquet", s=["m"] * 4, time=stamps, v=[1.0] * 4)
    with pytest.raises(ConfigError, match="row 4: '2023-10-29 02:00:00' comes after a later time"):
        load_rows(path, CLOCK, Reading("skip"))


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_numbers_since_1970(form: str, unit: TimeUnit, factor: int, tmp_path: Path) -> None:
    """With --time-unit they are dates; without it numbers in an order."""
    path, count = tmp_path / f"a.{form}", int(NEW_YEAR) * factor
    if form == "csv":
        csv(path, f"s,time,v\nm,{count},1\n")
    else:
        parquet(path, s=["m"], time=[count], v=[1.0])
    rows, plain = load_rows(path, CLOCK, Reading(time_unit=unit)), load_rows(path, CLOCK)
    assert rows.dated
    assert not plain.dated
    assert rows.times is not None
    assert plain.times is not None
    assert rows.times.tolist() == [NEW_YEAR]
    assert plain.times.tolist() == [count]


def test_a_unit_that_does_not_fit(tmp_path: Path) -> None:
    """Of milliseconds taken for seconds, and of dates."""
    path = csv(tmp_path / "a.csv", f"s,time,v\nm,{int(NEW_YEAR) * 1000},1\n")
    with pytest.raises(ConfigError, match="row 1: '1704067200000' is outside the years 1 to 9999"):
        load_rows(path, CLOCK, Reading(time_unit="s"))
    path = csv(tmp_path / "a.csv", "s,time,v\nm,2024-01-01,1\n")
    with pytest.raises(ConfigError, match="column 'time' holds dates; --time-unit is for numbers"):
        load_rows(path, CLOCK, Reading(time_unit="s"))


def test_a_first_piece_without_times(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first value says what the column holds, however late it comes."""
    monkeypatch.setattr("streammeta.datasets.table_files.PIECE_ROWS", 2)
    path = csv(tmp_path / "a.csv", "s,time,v\nm,,1\nm,NA,1\nm,2024-01-01,1\n")
    assert load_rows(path, CLOCK, Reading("skip")).dated


@pytest.mark.parametrize(
    "text",
    ["2024-01-01", "2024-01", "2024-01-01T00:00:00Z", "2024-01-01 00:00:00 UTC",
     "2024-01-01 01:00:00 +0100", "2024-01-01T00:00:00.000000000+00:00", "2023-12-31T19:00:00-05:00"],
)  # fmt: skip
def test_dates_in_text(text: str, tmp_path: Path) -> None:
    """Months, days, offsets, fractions."""
    times = load_rows(csv(tmp_path / "a.csv", f"s,time,v\nm,{text},1\n"), CLOCK).times
    assert times is not None
    assert times.tolist() == [NEW_YEAR]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
def test_timestamps_of_any_unit(unit: str, zone: str | None, tmp_path: Path) -> None:
    """With a zone they are moments; without one, clocks of --timezone; null is missing."""
    stamps = pa.array([datetime(2024, 1, 1, 1), None]).cast(pa.timestamp(unit, zone))
    path = parquet(tmp_path / "a.parquet", s=["m", "m"], time=stamps, v=[1.0, 2.0])
    times = load_rows(path, CLOCK, Reading("skip", zone=BERLIN)).times
    assert times is not None
    assert times.tolist() == [NEW_YEAR + (3600 if zone else 0)]


def test_a_clock_that_never_was(tmp_path: Path) -> None:
    """Clocks went forward over it."""
    path = csv(tmp_path / "a.csv", "s,time,v\nm,2024-03-31 02:30,1\n")
    with pytest.raises(ConfigError, match="row 1: '2024-03-31 02:30' does not exist in Europe/Berlin"):
        load_rows(path, CLOCK, Reading(zone=BERLIN))


def test_numbers_and_dates_are_not_mixed(tmp_path: Path) -> None:
    """The first value says which they are."""
    path = csv(tmp_path / "a.csv", "s,time,v\nm,1700000000,1\nm,2024-01-01,1\n")
    with pytest.raises(ConfigError, match="column 'time', row 2: '2024-01-01' is no number"):
        load_rows(path, CLOCK)
