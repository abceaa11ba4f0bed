"""`streammeta reproduce`: table, JSON, plot, and options that keep a run short."""

import json
import math
from pathlib import Path

import pytest

from streammeta.reproduce import steps
from streammeta.reproduce.report import Measured, Report, Row
from streammeta.reproduce.sinewave.methods import METHODS
from tests.cli.conftest import Invoke

EXPERIMENTS = ("sinewave", "quadratic", "steps", "drift", "memory", "omniglot", "mnist1d", "m4")


def test_every_experiment_is_there(streammeta: Invoke) -> None:
    """By the names of the documentation."""
    shown = streammeta("reproduce", "--help").stdout.split("Commands:")[1]
    assert {line.split()[0] for line in shown.splitlines() if line.startswith("  ")} >= set(EXPERIMENTS)


def test_a_short_run_draws_a_plot_and_prints_json(streammeta: Invoke, tmp_path: Path) -> None:
    """One row for each method and number of shots; figures with their spread; the machine beside them."""
    plot = tmp_path / "p.png"
    options = ["-m", "maml", "-m", "nasa", "-k", "1", "--seeds", "2", "--iterations", "30"]
    done = streammeta("reproduce", "sinewave", *options, "--format", "json", "--plot", plot)
    assert done.exit_code == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(row["method"], row["setting"]) for row in found["rows"]] == [
        ("maml", "K = 1"),
        ("nasa", "K = 1"),
    ]
    for row in found["rows"]:
        assert row["published"] is None  # the published runs are longer
        figure = row["measured"]["500 fresh tasks"]
        assert 1 < figure["mean"] < 10
        assert figure["spread"] > 0
    assert found["machine"]["torch"]
    (panel,) = found["panels"]
    assert [curve["label"] for curve in panel["curves"]] == ["maml", "nasa"]
    for curve in panel["curves"]:
        assert len(curve["x"]) == len(curve["y"]) == len(curve["spread"]) >= 3
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "maml, K = 1 …" in done.stderr


def test_the_table_stands_beside_the_published_figures(streammeta: Invoke, tmp_path: Path) -> None:
    """With --no-plot nothing is drawn, and matplotlib not asked for."""
    done = streammeta("reproduce", "quadratic", "--seeds", "1", "--no-plot")
    assert done.exit_code == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("reptile")]
    assert row.split()[-1] == "0.171"
    assert not [*tmp_path.iterdir()]


def test_what_ran_away_is_null_in_json(streammeta: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no infinity."""
    row = Row("α fixed", "N = 9", (Measured(math.inf, 1.0),))
    monkeypatch.setattr(steps, "steps", lambda *_, **__: Report("steps", "", ("loss",), "sd", [row], []))
    done = streammeta("reproduce", "steps", "--no-plot", "--format", "json")
    (found,) = json.loads(done.stdout, parse_constant=pytest.fail)["rows"]
    assert found["measured"] == {"loss": {"mean": None, "spread": 1.0}}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["sinewave", "-m", "mmol"], "'mmol' is not one of"),
        (["sinewave", "--seeds", "0"], "--seeds"),
        (["omniglot", "--data", "nowhere.npz", "--no-plot"], "--data nowhere.npz: no such file"),
        (["m4", "--data", "nowhere.csv", "--no-plot"], "nowhere.csv: no such file"),
        (["m4", "--no-plot"], "Missing option '--data'"),
        (["memory", "-m", "reptile", "--plot", "no/where.png"], "no/where.png: there is no folder no"),
    ],
)
def test_bad_options_are_named(options: list[str], said: str, streammeta: Invoke) -> None:
    """With what would do; never a traceback."""
    done = streammeta("reproduce", *options)
    assert done.exit_code in {2, 78}
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_the_published_methods_are_all_there() -> None:
    """Those of the paper's table, each at both K."""
    published = {name for name, method in METHODS.items() if set(method.published) == {1, 3}}
    assert published == {"maml", "moml", "moml_v2", "local_moml", "nasa", "bspiderboost"}
