"""Panels as a PNG, by matplotlib (the extra `reproduce`)."""

from pathlib import Path
from typing import TYPE_CHECKING

from streammeta.errors import ConfigError
from streammeta.reproduce.report import Panel, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B", "#7F7F7F")
"""Okabe and Ito's, which the colour-blind can tell apart, and two more."""
MARKED = 12
"""Curves of fewer points show them, and name their places."""
_STYLES = ("-", "--", "-.", ":")


def require_matplotlib() -> None:
    """Refuse before minutes of work where the plot could not be drawn.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401 - is it there?
    except ImportError as error:
        raise ConfigError(
            "the plot needs matplotlib; install it: pip install 'streammeta[reproduce]', or give --no-plot"
        ) from error


def save_plot(report: Report, path: Path) -> None:
    """Write the panels side by side.

    Raises:
        ConfigError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(report.panels), 4.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(report.title)
    for axes, panel in zip(
        figure.subplots(1, len(report.panels), squeeze=False)[0], report.panels, strict=True
    ):
        _draw(axes, panel)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise ConfigError(f"--plot {path}: cannot be written ({error}); name another file") from error


def _draw(axes: "Axes", panel: Panel) -> None:
    from matplotlib.ticker import EngFormatter

    for index, curve in enumerate(panel.curves):
        colour = _COLOURS[index % len(_COLOURS)]
        style = _STYLES[index % len(_STYLES)]
        marker = "o" if len(curve.x) < MARKED else ""
        axes.plot(curve.x, curve.y, style, label=curve.label, color=colour, marker=marker, markersize=4)
        if curve.spread:
            below, above = (
                [y + sign * s for y, s in zip(curve.y, curve.spread, strict=True)] for sign in (-1, 1)
            )
            axes.fill_between(curve.x, below, above, color=colour, alpha=0.15, linewidth=0)
    axes.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    axes.set_xscale(panel.x_scale)
    axes.set_yscale(panel.y_scale)
    places = sorted({x for curve in panel.curves for x in curve.x})
    if len(places) < MARKED:
        axes.set_xticks(places, [f"{x:,g}" for x in places])
        axes.set_xticks([], minor=True)
    elif panel.x_scale == "linear":
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
