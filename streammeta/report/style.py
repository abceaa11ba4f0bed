"""How every picture looks: paper and ink, colours, one legend under the panels, units on axes, dates.

Matplotlib is imported when a picture is asked for, not before. Times are UTC.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streammeta.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"),
    *("#14181d", "#8c564b", "#7f7f7f"),
)
"""Okabe and Ito's, which the colour-blind can tell apart, and two more."""
STYLES: Final = ("-", "--", "-.", ":")
"""Lines differ in these too, for prints without colour."""
PHASES: Final = {"meta": "#d55e00", "adapted": "#0072b2", "memory": "#009e73"}
"""Of the prequential losses, as on the page."""
_INK, _FAINT, _GRID = "#14181d", "#5a6570", "#e3e8ed"
_DOTS_PER_INCH = 150
_MINUTE = "%Y-%m-%d %H:%M"
_NAMES_PER_INCH = 0.35
_NOTE_INCHES, _LINE_INCHES = 0.22, 0.17


def require_matplotlib(otherwise: str) -> None:
    """Refuse before the work where its picture could not be drawn.

    Args:
        otherwise: What to do without it, such as "give --no-plot".

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401 - is it there?
    except ImportError as error:
        raise ConfigError(
            f"pictures need matplotlib: pip install 'streammeta[plot]', or {otherwise}"
        ) from error


def paper(inches: tuple[float, float], title: str, note: str) -> "Figure":
    """An empty figure: its title above; below, small, where it is from and when it was."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, dpi=_DOTS_PER_INCH, facecolor="white")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold", color=_INK)
    figure.text(0.99, 0.05 / inches[1], note, ha="right", va="bottom", fontsize=7, color=_FAINT)
    _leave_below(figure, _NOTE_INCHES)
    return figure


def _leave_below(figure: "Figure", inches: float) -> None:
    """Panels leave so much of the figure's foot free."""
    share = inches / float(figure.get_figheight())
    figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))


def dress(axes: "Axes", title: str, x: str, y: str) -> None:
    """What the panel shows and what its axes count, with units."""
    axes.set_title(title, loc="left", fontsize=9, color=_INK)
    axes.set_xlabel(x, fontsize=8, color=_FAINT)
    axes.set_ylabel(y, fontsize=8, color=_FAINT)
    axes.tick_params(which="both", labelsize=8, colors=_FAINT, length=0)
    axes.grid(color=_GRID, lw=0.8)
    axes.grid(which="minor", color=_GRID, lw=0.4)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def counts(axes: "Axes") -> None:
    """Count x in whole numbers, thousands as k and millions as M."""
    from matplotlib.ticker import EngFormatter, MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))


def logarithmic(axes: "Axes") -> None:
    """Scale y by its logarithm; ticks are plain numbers."""
    from matplotlib.ticker import LogFormatter

    class Plain(LogFormatter):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return f"{x:g}" if super().__call__(x, pos) else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(Plain())
    axes.yaxis.set_minor_formatter(Plain(minor_thresholds=(1.0, 0.4)))


def times(axes: "Axes", unix_seconds: Any, y: Any, **look: Any) -> None:
    """A curve over UTC, ticks on whole units; seconds (n,), y (n,)."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.plot((np.asarray(unix_seconds) * 1e6).astype("datetime64[us]"), y, **look)
    locator = AutoDateLocator(tz=UTC, minticks=2, maxticks=6)
    axes.xaxis.set_major_locator(locator)
    clock = ["%Y", "%b", "%b %d", "%H:%M", "%H:%M", "%H:%M:%S"]  # a year, … a second apart
    whole = ["", "%Y", "%b", "%b %d", "%H:%M", "%H:%M:%S"]  # at the beginning of a year, a month, a day …
    form = ConciseDateFormatter(locator, tz=UTC, formats=clock, zero_formats=whole, show_offset=False)
    axes.xaxis.set_major_formatter(form)


def legend(axes: "Axes") -> None:
    """The names of a panel's own curves, in it."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(loc="best", frameon=False, fontsize=7, labelcolor=_FAINT)


def shared_legend(figure: "Figure", panels: Iterable["Axes"]) -> None:
    """One legend under the panels, where it hides no curve; each name once, though several panels have it."""
    found: dict[str, Any] = {}
    for axes in panels:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(str(name), handle)
    if not found:
        return
    columns = max(1, min(len(found), int(figure.get_figwidth() * _NAMES_PER_INCH)))
    figure.legend(
        [*found.values()],
        [*found],
        loc="lower left",
        bbox_to_anchor=(0, _NOTE_INCHES / figure.get_figheight()),
        ncols=columns,
        frameon=False,
        fontsize=8,
        labelcolor=_FAINT,
    )
    _leave_below(figure, _NOTE_INCHES + 0.12 + _LINE_INCHES * math.ceil(len(found) / columns))


def span(unix_seconds: Iterable[float]) -> str:
    """From the first to the last of the times, to the minute; nothing where there is none.

    >>> span([0.0, 90.0]), span([0.0, 86400.0]), span([])
    ('1970-01-01 00:00 to 00:01 UTC', '1970-01-01 00:00 to 1970-01-02 00:00 UTC', '')
    """
    known = [seconds for seconds in unix_seconds if np.isfinite(seconds)]
    if not known:
        return ""
    first, last = (
        datetime.fromtimestamp(seconds, UTC).strftime(_MINUTE) for seconds in (min(known), max(known))
    )
    return f"{first} to {last.removeprefix(first[:11])} UTC"


def write(figure: "Figure", path: Path, option: str) -> None:
    """Write the picture; the name's ending says in which form.

    Raises:
        ConfigError: the file cannot be written, or the ending names no form; says the option.
    """
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{option} {path}: {error}; name another file") from error
