"""The picture of `replay --compare`: configurations over one recording. Needs matplotlib (extra `plot`)."""

from collections.abc import Sequence
from itertools import cycle
from typing import TYPE_CHECKING

from streammeta.observe.catalogue import PHASE_TITLES, PHASES
from streammeta.programs.comparison import Curve
from streammeta.report.style import COLOURS, STYLES, counts, dress, logarithmic, paper, shared_legend

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def compared_picture(curves: Sequence[Curve], title: str, note: str) -> "Figure":
    """The prequential losses of the configurations side by side; `note` says of which records."""
    figure = paper((11, 4.8), title, note)
    panels = figure.subplots(1, 2, sharey=True)
    loss = " / ".join(dict.fromkeys(f"loss ({curve.loss})" for curve in curves))
    for axes, phase in zip(panels, ("adapted", "memory"), strict=True):
        _lines(axes, curves, PHASES.index(phase))
        dress(axes, f"Prequential loss {PHASE_TITLES[phase]}, fading mean", "events", loss)
        counts(axes)
    shared_legend(figure, panels)
    return figure


def _lines(axes: "Axes", curves: Sequence[Curve], phase: int) -> None:
    for curve, colour, style in zip(curves, cycle(COLOURS), cycle(STYLES), strict=False):
        events, losses = [at for at, _ in curve.points], [means[phase] for _, means in curve.points]
        axes.plot(events, losses, style, label=f"{curve.name} ({curve.algorithm})", color=colour, lw=1.4)
    if any(means[phase] > 0 for curve in curves for _, means in curve.points):
        logarithmic(axes)
