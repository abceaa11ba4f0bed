"""What an experiment found as a picture, by matplotlib (the extra `reproduce`)."""

from datetime import date
from typing import TYPE_CHECKING

from streammeta import __version__
from streammeta.report.style import COLOURS, STYLES, counts, dress, logarithmic, paper, shared_legend
from streammeta.reproduce.report import Panel, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKED = 12
"""Curves of fewer points show them, and name their places."""


def experiment_picture(report: Report, made: date) -> "Figure":
    """The panels side by side."""
    note = f"streammeta reproduce {report.name} · {made:%Y-%m-%d} · streammeta {__version__}"
    figure = paper((5.2 * len(report.panels), 4.6), report.title, note)
    panels = figure.subplots(1, len(report.panels), squeeze=False)[0]
    for axes, panel in zip(panels, report.panels, strict=True):
        _draw(axes, panel)
    shared_legend(figure, panels)
    return figure


def _draw(axes: "Axes", panel: Panel) -> None:
    for index, curve in enumerate(panel.curves):
        colour, style = COLOURS[index % len(COLOURS)], STYLES[index % len(STYLES)]
        marker = "o" if len(curve.x) < MARKED else ""
        axes.plot(curve.x, curve.y, style, label=curve.label, color=colour, marker=marker, ms=4, lw=1.4)
        if curve.spread:
            below, above = (
                [y + sign * s for y, s in zip(curve.y, curve.spread, strict=True)] for sign in (-1, 1)
            )
            axes.fill_between(curve.x, below, above, color=colour, alpha=0.15, linewidth=0)
    axes.set_xscale(panel.x_scale)
    if panel.y_scale == "log":
        logarithmic(axes)
    dress(axes, panel.title, panel.x_label, panel.y_label)
    _places(axes, panel)


def _places(axes: "Axes", panel: Panel) -> None:
    """Ticks of x: at the points where they are few and those of all curves, else on round numbers."""
    places = sorted({x for curve in panel.curves for x in curve.x})
    if len(places) < MARKED and all(len(curve.x) == len(places) for curve in panel.curves):
        axes.set_xticks(places, [f"{x:,g}" for x in places])
        axes.set_xticks([], minor=True)
    elif panel.x_scale == "linear":
        counts(axes)
    else:
        axes.xaxis.set_major_formatter("{x:g}")
