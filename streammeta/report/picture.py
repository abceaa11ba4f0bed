"""The report as one picture, for slides and letters. Needs matplotlib (extra `plot`)."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streammeta.errors import StreammetaError
from streammeta.observe.catalogue import PHASES
from streammeta.observe.history import Curve
from streammeta.report.run import Run, summary

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLORS: Final = {"meta": "#d55e00", "adapted": "#0072b2", "memory": "#009e73"}
_TITLES: Final = {
    "meta": "at the meta-parameters",
    "adapted": "after one adaptation",
    "memory": "at the task's memory",
}
_RUNS: Final = ("#0072b2", "#d55e00", "#009e73", "#7a4fb5", "#cc79a7")
_INK, _FAINT = "#14181d", "#5a6570"


def report_picture(run: Run, path: Path) -> None:
    """Write the picture: losses large, of a classifier accuracies, then gain, norms, tracking, throughput.

    Raises:
        StreammetaError: matplotlib is missing; names the remedy.
    """
    classifies = bool(np.isfinite(_of(run.history.events, "fading_accuracy_adapted")).any())
    rows = [("LLLL", 2.0), *([("AAAA", 1.1)] if classifies else []), ("GNTE", 1.1)]
    figure = _figure((12, 10 if classifies else 7.5), ", or name an .html file")
    panels = figure.subplot_mosaic([[*row] for row, _ in rows], height_ratios=[ratio for _, ratio in rows])
    figure.suptitle(_headline(run), x=0.01, ha="left", fontsize=12, fontweight="bold", color=_INK)
    _losses(panels["L"], run.history.events)
    if classifies:
        _accuracies(panels["A"], run.history.events)
    _lines(panels["G"], "Adaptation gain", run.history.events, [])
    gain = _of(run.history.events, "fading_meta") - _of(run.history.events, "fading_adapted")
    panels["G"].plot(_of(run.history.events, "events"), gain, color=_COLORS["adapted"], lw=1.2)
    _lines(
        panels["N"],
        "Meta-gradient and update norms",
        run.history.events,
        [("gradient_norm", "#7a4fb5"), ("update_norm", "#b07d00")],
    )
    panels["N"].set_yscale("log")
    _lines(
        panels["T"],
        "Memory tracking error",
        run.history.events,
        [("fading_tracking_error", _COLORS["memory"])],
    )
    _throughput(panels["E"], run.history.time)
    figure.savefig(path)


def comparison_picture(runs: Sequence[Run], path: Path) -> None:
    """Write runs over one another: the loss after one adaptation, and that at the tasks' memories.

    Raises:
        StreammetaError: matplotlib is missing; names the remedy.
    """
    figure = _figure((12, 7.5), ", or name an .html file")
    figure.suptitle(" · ".join(map(_brief, runs)), x=0.01, ha="left", fontsize=11, color=_INK)
    for axes, phase in zip(figure.subplots(2, sharex=True), ("adapted", "memory"), strict=True):
        for run, color in zip(runs, cycle(_RUNS), strict=False):
            events, losses = (_of(run.history.events, name) for name in ("events", f"fading_{phase}"))
            axes.plot(events, losses, color=color, lw=1.6, label=run.name)
        _dress(axes, f"Loss {_TITLES[phase]}, mean of the last 100 events or so", "events")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=8, labelcolor=_FAINT)
    figure.savefig(path)


def losses_picture(curve: Curve) -> "Figure":
    """The losses alone, as a figure.

    Raises:
        StreammetaError: matplotlib is missing; names the remedy.
    """
    figure = _figure((9, 4.5), "")
    _losses(figure.subplots(), curve)
    return figure


def _figure(size: tuple[float, float], otherwise: str) -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise StreammetaError(
            f"a picture needs matplotlib: pip install 'streammeta[plot]'{otherwise}"
        ) from error
    return Figure(figsize=size, dpi=150, layout="constrained", facecolor="white")


def _headline(run: Run) -> str:
    told = summary(run)
    loss = told["losses"]["adapted"]
    text = f"{told['algorithm']} on {told['topic']} · {told['events']:,} events · {run.known:,} tasks"
    if None in loss.values():
        return text
    return f"{text} · loss after adaptation {loss['first']:.3g} → {loss['now']:.3g}"


def _brief(run: Run) -> str:
    told = summary(run)
    loss = told["losses"]["adapted"]["now"]
    end = "" if loss is None else f", loss after adaptation {loss:.3g}"
    return f"{run.name}: {told['algorithm']}, {told['events']:,} events{end}"


def _losses(axes: "Axes", curve: Curve) -> None:
    for phase in PHASES:
        at, color = _of(curve, "events"), _COLORS[phase]
        axes.plot(at, _of(curve, f"loss_{phase}"), ".", color=color, ms=2.5, alpha=0.25)
        axes.plot(at, _of(curve, f"fading_{phase}"), color=color, lw=1.6, label=_TITLES[phase])
    _dress(axes, "Prequential loss: each event is predicted, then learned from", "events")
    fading = np.concatenate([_of(curve, f"fading_{phase}") for phase in PHASES])
    if np.isfinite(fading).any():
        axes.set_ylim(0, 1.1 * float(np.nanmax(fading)))
        axes.legend(frameon=False, fontsize=8, labelcolor=_FAINT)


def _accuracies(axes: "Axes", curve: Curve) -> None:
    _lines(
        axes,
        "Prequential accuracy",
        curve,
        [(f"fading_accuracy_{phase}", _COLORS[phase]) for phase in PHASES],
    )
    axes.set_ylim(0, 1)


def _lines(axes: "Axes", title: str, curve: Curve, names: Sequence[tuple[str, str]]) -> None:
    for name, color in names:
        axes.plot(_of(curve, "events"), _of(curve, name), color=color, lw=1.2)
    _dress(axes, title, "events")


def _throughput(axes: "Axes", curve: Curve) -> None:
    seconds, covered = _of(curve, "seconds"), _of(curve, "covered_seconds")
    rate = np.divide(_of(curve, "learned"), covered, out=np.full_like(covered, np.nan), where=covered > 0)
    axes.plot((seconds - seconds[:1].sum()) / 60, rate, color=_COLORS["adapted"], lw=1.2)
    _dress(axes, "Events a second", "minutes")


def _dress(axes: "Axes", title: str, x: str) -> None:
    axes.set_title(title, loc="left", fontsize=9, color=_INK)
    axes.set_xlabel(x, fontsize=8, color=_FAINT)
    axes.tick_params(labelsize=8, colors=_FAINT, length=0)
    axes.grid(color="#eef1f4", lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)


def _of(curve: Curve, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return curve.column(name)
