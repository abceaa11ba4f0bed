"""Runs as one picture, for slides and letters. Needs matplotlib (extra `plot`)."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from streammeta import __version__
from streammeta.observe.catalogue import PHASE_TITLES, PHASES
from streammeta.observe.history import Curve
from streammeta.report.run import Run, summary
from streammeta.report.style import (
    COLOURS,
    counts,
    dress,
    legend,
    logarithmic,
    paper,
    require_matplotlib,
    shared_legend,
    span,
    times,
)
from streammeta.report.style import PHASES as PHASE_COLOURS
from streammeta.wording import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_EVENTS: Final = "events"
_OTHERWISE: Final = "name an .html file"


def run_picture(run: Run, made: datetime) -> "Figure":
    """A run: losses large, of a classifier accuracies, then gain, norms, tracking, throughput.

    Raises:
        ConfigError: matplotlib is missing; names the remedy.
    """
    require_matplotlib(_OTHERWISE)
    curve, loss = run.history.events, _loss_of(run)
    classifies = bool(np.isfinite(curve.column("fading_accuracy_adapted")).any())
    rows = [("LLLL", 2.0), *([("AAAA", 1.1)] if classifies else []), ("GNTE", 1.2)]
    figure = paper((12, 10 if classifies else 7.5), _headline(run), _note([run], made))
    panels = figure.subplot_mosaic([[*row] for row, _ in rows], height_ratios=[ratio for _, ratio in rows])
    _losses(panels["L"], curve, loss)
    if classifies:
        _accuracies(panels["A"], curve)
    _details(panels, run, loss)
    shared_legend(figure, [panels["L"]])
    return figure


def runs_picture(runs: Sequence[Run], made: datetime) -> "Figure":
    """Runs over one another: the loss after one adaptation, and that at the tasks' memories.

    Raises:
        ConfigError: matplotlib is missing; names the remedy.
    """
    require_matplotlib(_OTHERWISE)
    figure = paper((12, 7.5), "\n".join(map(_brief, runs)), _note(runs, made))
    panels = figure.subplots(2, sharex=True)
    loss = " / ".join(dict.fromkeys(map(_loss_of, runs)))
    for axes, phase in zip(panels, ("adapted", "memory"), strict=True):
        for run, colour in zip(runs, cycle(COLOURS), strict=False):
            curve = run.history.events
            axes.plot(*_points(curve, f"fading_{phase}"), color=colour, lw=1.6, label=run.name)
        dress(axes, f"Prequential loss {PHASE_TITLES[phase]}, fading mean", _EVENTS, loss)
        counts(axes)
        axes.set_ylim(bottom=0)
    shared_legend(figure, panels)
    return figure


def losses_picture(curve: Curve, loss: str) -> "Figure":
    """The losses alone, as a figure; `loss` is what they are.

    Raises:
        ConfigError: matplotlib is missing; names the remedy.
    """
    require_matplotlib("take history(), which is a table")
    figure = paper((9, 4.8), "", _of_times([curve.column("seconds")]))
    axes = figure.subplots()
    _losses(axes, curve, loss)
    shared_legend(figure, [axes])
    return figure


def _details(panels: dict[str, "Axes"], run: Run, loss: str) -> None:
    """The small panels: what adaptation gains, how far updates go, memories, how fast it went."""
    curve, colour = run.history.events, PHASE_COLOURS["adapted"]
    gain = curve.column("fading_meta") - curve.column("fading_adapted")
    panels["G"].plot(curve.column("events"), gain, color=colour, lw=1.2)
    dress(panels["G"], "Adaptation gain", _EVENTS, loss)
    for name, shown in (("gradient_norm", COLOURS[3]), ("update_norm", COLOURS[4])):
        label = f"meta-{name.removesuffix('_norm')}"
        panels["N"].plot(*_points(curve, name), color=shown, lw=1.2, label=label)
    logarithmic(panels["N"])
    dress(panels["N"], "Norms", _EVENTS, "Euclidean norm")
    legend(panels["N"])
    panels["T"].plot(*_points(curve, "fading_tracking_error"), color=PHASE_COLOURS["memory"], lw=1.2)
    dress(panels["T"], "Memory tracking error", _EVENTS, "Euclidean norm")
    for name in "GNT":
        counts(panels[name])
    time = run.history.time
    times(panels["E"], time.column("seconds"), _rate(time), color=colour, lw=1.2)
    dress(panels["E"], "Throughput", "time (UTC)", "events a second")


def _headline(run: Run) -> str:
    told = summary(run)
    loss = told["losses"]["adapted"]
    counts = f"{counted(told['events'], 'event')} · {counted(run.known, 'task')}"
    text = f"{told['algorithm']} on {told['topic']} · {counts}"
    if None in loss.values():
        return text
    return f"{text} · loss after adaptation {loss['first']:.3g} → {loss['now']:.3g}"


def _brief(run: Run) -> str:
    told = summary(run)
    loss = told["losses"]["adapted"]["now"]
    end = "" if loss is None else f", loss after adaptation {loss:.3g}"
    return f"{run.name}: {told['algorithm']}, {counted(told['events'], 'event')}{end}"


def _note(runs: Sequence[Run], made: datetime) -> str:
    """When the events were learned, and when and by what the picture was made."""
    learned = _of_times([run.history.events.column("seconds") for run in runs])
    return f"{learned} · drawn {made.astimezone(UTC):%Y-%m-%d} by streammeta {__version__}".removeprefix(
        " · "
    )


def _of_times(tracks: Iterable[Any]) -> str:
    covered = span(np.concatenate([*tracks]))
    return f"learned {covered}" if covered else ""


def _losses(axes: "Axes", curve: Curve, loss: str) -> None:
    for phase in PHASES:
        colour = PHASE_COLOURS[phase]
        axes.plot(*_points(curve, f"loss_{phase}"), ".", color=colour, ms=2.5, alpha=0.25)
        axes.plot(*_points(curve, f"fading_{phase}"), color=colour, lw=1.6, label=PHASE_TITLES[phase])
    dress(axes, "Prequential loss, before an event is learned from: lines are fading means", _EVENTS, loss)
    counts(axes)
    fading = np.concatenate([curve.column(f"fading_{phase}") for phase in PHASES])
    if np.isfinite(fading).any():
        axes.set_ylim(0, 1.1 * float(np.nanmax(fading)) or 1.0)


def _accuracies(axes: "Axes", curve: Curve) -> None:
    for phase in PHASES:
        axes.plot(*_points(curve, f"fading_accuracy_{phase}"), color=PHASE_COLOURS[phase], lw=1.2)
    dress(axes, "Prequential accuracy, fading mean", _EVENTS, "share of the query set")
    counts(axes)
    axes.set_ylim(0, 1)


def _rate(curve: Curve) -> Any:
    """Events a second, (n,); NaN where no time is covered."""
    covered = curve.column("covered_seconds")
    return np.divide(curve.column("learned"), covered, out=np.full_like(covered, np.nan), where=covered > 0)


def _loss_of(run: Run) -> str:
    return f"loss ({run.settings.get('model', {}).get('loss', 'of the model')})"


def _points(curve: Curve, name: str) -> tuple[Any, Any]:
    return curve.column("events"), curve.column(name)
