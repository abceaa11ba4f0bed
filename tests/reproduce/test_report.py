"""What experiments return, and how it is drawn."""

from datetime import date

from streammeta.reproduce.plot import experiment_picture
from streammeta.reproduce.report import Curve, Measured, Panel, Report, Row


def report() -> Report:
    """Two methods, one of which is published."""
    rows = [Row("a", "K = 1", (Measured(1.3, 0.1),), Measured(1.0, 0.2)), Row("b", "K = 1", (Measured(2.0),))]
    curves = [Curve("a", [1, 10], [1.0, 2.0], [0.1, 0.1]), Curve("b", [1, 10], [float("inf"), 3.0])]
    return Report("toy", "A toy", ("error",), "sd", rows, [Panel("left", "x", "y", curves, "log", "log")] * 2)


def test_deviations_are_in_published_standard_deviations() -> None:
    """Signed; none where nothing is published."""
    assert [row.deviations for row in report().rows] == [1.5, None]


def test_a_plot_shows_every_panel() -> None:
    """Each with its curves and scales; points are marked, and name their places, where they are few."""
    figure = experiment_picture(report(), date(2026, 11, 30))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["left", "left"]
    for axes in figure.axes:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "10"]
        assert [line.get_marker() for line in axes.lines] == ["o", "o"]
    assert figure.texts[1].get_text().startswith("streammeta reproduce toy · 2026-11-30 · streammeta ")
