"""`streammeta bench` as a verb: the table, the JSON, and one run against an earlier one."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from streammeta.benchmarks.comparison import Earlier
from streammeta.benchmarks.rows import Plan, Row, absent
from streammeta.cli import bench as verb
from streammeta.cli import main
from streammeta.errors import ConfigError

ROWS = [
    Row("faster", 10.0, "µs", (9.0, 11.0), 5),
    Row("as before", 20.0, "µs", (15.0, 25.0), 5),
    Row("new", 3.0, "ratio"),
    absent("peer", "µs", "peer is not installed"),
]


@pytest.fixture(autouse=True)
def _suite(monkeypatch: pytest.MonkeyPatch) -> None:
    """One suite that takes no time, and keeps the plan."""

    def suite(plan: Plan) -> Iterator[Row]:
        assert plan == Plan("small", "here:1", 2)
        yield from ROWS

    monkeypatch.setitem(verb.SUITES, "step", suite)


def run(*arguments: str) -> str:
    """What the verb prints."""
    called = ["step", "--size", "small", "--bootstrap-servers", "here:1", "--rounds", "2", *arguments]
    result = CliRunner().invoke(main, ["bench", *called], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def earlier(path: Path, **changes: Any) -> Path:
    """An earlier run's file: "faster" took twice as long, "new" was not there."""
    told = json.loads(run("--format", "json")) | changes
    told["rows"] = [row for row in told["rows"] if row["name"] != "new"]
    told["rows"][0] |= {"value": 20.0, "spread": [19.0, 21.0]}
    path.write_text(json.dumps(told))
    return path


def test_json_holds_all_that_is_known_of_a_run() -> None:
    """The machine with the versions of peers, when, how large; rows as they are, null for what is absent."""
    told = json.loads(run("--format", "json"))
    assert set(told) == {"machine", "taken", "load", "size", "rows", "aims"}
    assert {"platform", "processors", "processor", "python", "torch", "numpy"} <= set(told["machine"])
    assert told["size"] == "small"
    assert told["rows"][0] == {
        "suite": "step",
        "name": "faster",
        "value": 10.0,
        "unit": "µs",
        "spread": [9.0, 11.0],
        "rounds": 5,
        "note": "",
    }
    assert told["rows"][3]["value"] is None
    assert told["rows"][3]["note"] == "peer is not installed"


def test_the_table_tells_medians_spreads_and_what_is_absent() -> None:
    """A line a figure; the machine below."""
    lines = run().splitlines()
    assert any("faster" in line and "10" in line and "9 to 11" in line for line in lines)
    assert any("absent" in line and "peer is not installed" in line for line in lines)
    assert "torch" in lines[-1]


def test_compared_with_an_earlier_run_each_figure_has_its_change(tmp_path: Path) -> None:
    """Ours over the earlier one; nothing where one of the two is not there."""
    told = json.loads(run("--format", "json", "--compare", str(earlier(tmp_path / "run.json"))))
    faster, same, new, peer = told["rows"]
    assert (faster["earlier"], faster["change"]) == (20.0, 0.5)
    assert same["change"] == 1.0
    assert "change" not in new
    assert "change" not in peer


def test_the_table_says_what_lies_within_the_spread_and_what_differs(tmp_path: Path) -> None:
    """A change is one where the middle halves lie apart; another machine is told."""
    path = earlier(tmp_path / "run.json", size="full")
    lines = run("--compare", str(path)).splitlines()
    faster, same = (next(line for line in lines if name in line) for name in ("faster", "as before"))
    assert "0.5" in faster
    assert "within the spread" in same
    assert "within" not in faster
    assert "size: full then, small now" in lines


def test_a_suite_that_fails_costs_the_others_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows so far stay, the reason is a row, the exit code is 1."""

    def failing(_plan: Plan) -> Iterator[Row]:
        yield ROWS[0]
        raise ArithmeticError("off by 2")

    monkeypatch.setitem(verb.SUITES, "batch", failing)
    called = ["batch", "step", "--rounds", "2", "--size", "small", "--bootstrap-servers", "here:1"]
    result = CliRunner().invoke(main, ["bench", *called, "--format", "json"])
    assert result.exit_code == 1
    rows = json.loads(result.stdout)["rows"]
    assert [row["name"] for row in rows] == ["faster", "batch failed", *(row.name for row in ROWS)]
    assert rows[1]["note"] == "off by 2"


def test_the_table_steers_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an error says may come from a broker."""

    def failing(_plan: Plan) -> Iterator[Row]:
        raise ArithmeticError("off \x9b2J \u202e by 2")
        yield ROWS[0]

    monkeypatch.setitem(verb.SUITES, "batch", failing)
    called = ["batch", "--rounds", "2", "--size", "small", "--bootstrap-servers", "here:1"]
    shown = CliRunner().invoke(main, ["bench", *called]).stdout
    assert r"off \x9b2J \u202e by 2" in shown
    assert all(line.isprintable() for line in shown.splitlines())


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"machine": {}, "taken": "", "size": "", "rows": [{}]}']
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, content: str) -> None:
    """With its name and what it should have been."""
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"--compare .*run\.json: not a run of"):
        Earlier(path)
