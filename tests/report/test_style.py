"""Pictures: whatever is drawn, and by whom, has one look, hides nothing, and says what its axes count."""

import builtins
import math
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from streammeta.errors import ConfigError
from streammeta.observe.history import History
from streammeta.programs.comparison import Curve
from streammeta.report.compared import compared_picture
from streammeta.report.picture import losses_picture, run_picture, runs_picture
from streammeta.report.run import Run, read_run
from streammeta.report.style import paper, require_matplotlib, shared_legend, times, write
from streammeta.reproduce.plot import experiment_picture
from streammeta.reproduce.report import Curve as Line
from streammeta.reproduce.report import Panel, Report
from tests.report.test_report import EVENTS, history
from tests.states import checkpoint_of, row_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MADE = datetime(2026, 11, 30, 12, 0, tzinfo=UTC)


def run(name: str = "run") -> Run:
    """Of 500 events."""
    return read_run(name, checkpoint_of(EVENTS), history(), [("a", row_of(1).stats)], 1)


def compared() -> "Figure":
    """Two configurations, the second of an algorithm without memories."""
    curves = [Curve("a.toml", "moml", "mse", 1), Curve("b.toml", "maml", "huber", 1)]
    for curve, memory in zip(curves, (0.5, math.nan), strict=True):
        curve.points += [(n, (2 / n, 1 / n, memory / n)) for n in range(1, 20)]
    return compared_picture(curves, "10 records", "recorded 2026-11-30")


def experiment() -> "Figure":
    """Panels of many points and of few."""
    many = [Line(f"method {n}", range(1, 40), [n + 1.0 + x for x in range(1, 40)]) for n in range(9)]
    few = [Line("method 1", [1, 2, 4], [1.0, 2.0, 3.0], [0.1, 0.1, 0.1])]
    panels = [Panel("left", "events", "loss", many, y_scale="log"), Panel("right", "K", "MiB", few, "log")]
    return experiment_picture(Report("toy", "A toy", ("error",), "sd", [], panels), MADE)


PICTURES: dict[str, Callable[[], "Figure"]] = {
    "run": lambda: run_picture(run(), MADE),
    "runs": lambda: runs_picture([run("before"), run("after")], MADE),
    "nothing learned": lambda: losses_picture(History(lambda: 0.0).view().events, "loss (mse)"),
    "learner": lambda: losses_picture(run().history.events, "loss (mse)"),
    "compared": compared,
    "experiment": experiment,
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_says_what_it_shows(name: str, tmp_path: Path) -> None:
    """Titles, units on both axes, a name for each of several curves, a date; legends under the panels."""
    figure = PICTURES[name]()
    write(figure, tmp_path / "drawn.png", "--output")
    named = {text.get_text() for drawn in figure.legends for text in drawn.get_texts()}
    for axes in figure.axes:
        assert axes.get_title(loc="left")
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        _, labels = axes.get_legend_handles_labels()
        own = axes.get_legend()
        assert {*map(str, labels)} <= named | {text.get_text() for text in (own.get_texts() if own else ())}
        assert len(axes.lines) < 2 or labels
    assert ("2026-11-30" in figure.texts[1].get_text()) is (name not in {"learner", "nothing learned"})
    _nothing_is_hidden(figure)


@pytest.mark.parametrize("names", [1, 4, 9])
@pytest.mark.parametrize("inches", [5.2, 12.0])
def test_a_legend_hides_nothing(names: int, inches: float) -> None:
    """However many names it has: panels make room."""
    figure = paper((inches, 4.6), "A title", "a note of 2026-11-30")
    axes = figure.subplots()
    for number in range(names):
        axes.plot([0, 1], [number, 1], label=f"method {number} with a long name")
    axes.set_xlabel("events")
    shared_legend(figure, [axes, axes])
    (drawn,) = figure.legends
    assert len(drawn.get_texts()) == names
    _nothing_is_hidden(figure)


def _nothing_is_hidden(figure: "Figure") -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    found = [axes.get_tightbbox(canvas.get_renderer()) for axes in figure.axes]
    found += [part.get_window_extent() for part in (*figure.legends, *figure.texts)]
    boxes = [box for box in found if box is not None]
    assert len(boxes) == len(found)
    for index, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y0 >= 0
        for other in boxes[index + 1 :]:
            shared = (
                min(box.x1, other.x1) - max(box.x0, other.x0),
                min(box.y1, other.y1) - max(box.y0, other.y0),
            )
            assert min(shared) <= 1, (box, other)  # a pixel


@pytest.mark.parametrize("days", [10 / 86400, 150 / 86400, 1 / 24, 1.5, 80, 1000])
def test_time_has_ticks_on_whole_units(days: float) -> None:
    """Few, whatever the span; midnights by their date, so that each is told apart from its neighbours."""
    axes = paper((4, 3), "", "").subplots()
    began = MADE.timestamp()
    times(axes, [began, began + days * 86400], [0.0, 1.0])
    low, high = axes.get_xlim()
    places = [place for place in axes.get_xticks() if low <= place <= high]
    told = axes.xaxis.get_major_formatter().format_ticks(places)
    assert 2 <= len(told) <= 7
    assert all(one != other for one, other in pairwise(told))
    assert "00:00" not in told


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """With the option to change."""
    with pytest.raises(ConfigError, match=r"--plot .*nowhere.*name another file"):
        write(paper((2, 2), "", ""), tmp_path / "nowhere" / "toy.png", "--plot")


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what goes without."""
    real = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'streammeta\[plot\]', or give --no-plot"):
        require_matplotlib("give --no-plot")
