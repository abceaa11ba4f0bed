"""Did a series of losses get worse? A detector over each task's losses, and one over those of the stream.

What the detectors are given, and in which unit, is not of their papers but chosen by measurement
(`streammeta/reproduce/README.md`, `drift`):

- x = ∛loss, with its sign: losses of squares are skewed, and their cube roots nearly normal (Wilson, Hilferty
  1931); a loss of 0 is no outlier, as it is under a logarithm.
- The unit s is the noise of x: √(mean (x_t − x_{t−1})²/2), fading, or the deviation since the detector began,
  whichever is larger. Differences (von Neumann 1941) follow the noise that is now; the deviation sees a loss
  that wanders slowly, as it does at a memory that moves by β. No threshold depends on a loss's scale.
- A memory that keeps a share 1 − β of itself averages 1/β visits and wanders with them, so neighbouring
  losses are alike; what a detector bears grows with that share.
- x counts at most `MOST` s above the mean so far: one odd event is no drift.

Only a rise is drift. Where the mean fell the detector begins anew, and nothing is told: else a mean from
before a task was learned would hide for long that it got worse.
"""

import math
from typing import Final, Literal, NamedTuple

from streammeta.evaluation.adwin import Adwin
from streammeta.evaluation.page_hinkley import PageHinkley

Detector = Literal["page_hinkley", "adwin"]

MOST: Final = 4.0
"""Units that a number counts above the mean, and a difference at all."""
NOISE_FADING: Final = 0.97
"""Weight that the noise keeps per visit: about its last 33 visits count."""
RECENT_SHARE: Final = 0.3
"""Share of the last visit in the level after a change: about three count."""
MORE_RISE: Final = 0.85
"""What Page–Hinkley bears more, of δ and λ, where the memory keeps all but nothing of a visit."""
MORE_SURE: Final = 1.1
"""The same of ADWIN's ln(2 ln n / δ)."""
LEAST_NOISE: Final = 0.02
"""Share of the mean that the unit is at least: a loss that hardly varies must not make a unit of nothing."""


class Settings(NamedTuple):
    """How drift is looked for, as `[drift]` says.

    Attributes:
        detector: Which one.
        restart: Whether a task's next visit after a detection counts as its first one.
        min_visits: Losses before the first look.
        delta, threshold: Page–Hinkley's δ and λ, in units of the noise, for losses that are independent.
        confidence: ADWIN's δ, likewise.
        check_visits: Every how many losses ADWIN looks.
        kept: Share of itself that a memory keeps at a visit: 1 − β.
    """

    detector: Detector
    restart: bool = False
    min_visits: int = 20
    delta: float = 0.5
    threshold: float = 8.5
    confidence: float = 0.12
    check_visits: int = 1
    kept: float = 0.0


class Series(NamedTuple):
    """What is kept of a series of losses.

    Attributes:
        detector: Since the last detection; None before the first loss.
        last, recent: The last x, and a fading mean of the last few.
        noise, weight: Fading sum of squared differences, and of their weights.
        detections: So far.
        last_event: Index of the event with the last one, counted from 1; 0 before the first.
        loss_before, loss_after: The level of the losses before the last one, and of the few that told of it.
    """

    detector: PageHinkley | Adwin | None = None
    last: float = math.nan
    recent: float = math.nan
    noise: float = 0.0
    weight: float = 0.0
    detections: int = 0
    last_event: int = 0
    loss_before: float = math.nan
    loss_after: float = math.nan

    def begun_anew(self) -> "Series":
        """Without its losses, as after a detection; the detections so far stay."""
        return Series(None, *Series()[1:5], *self[5:])


BEGUN: Final = Series()


class Detection(NamedTuple):
    """A series got worse.

    Attributes:
        task: Whose; "" for the stream's.
        event: Index of the event that told, among all events learned, counted from 1.
        before, after: The level of the losses before, and of the few that told of it.
    """

    task: str
    event: int
    before: float
    after: float


def folded(series: Series, loss: float, event: int, settings: Settings) -> Series:
    """The series after one more loss; one that is not finite changes nothing.

    Drift was detected where it has more `detections`. A series of the other detector begins anew.
    """
    if not math.isfinite(loss):
        return series
    x = math.cbrt(loss)
    if settings.detector == "adwin":
        return _by_adwin(series, x, event, settings)
    return _by_page_hinkley(series, x, event, settings)


def _by_page_hinkley(series: Series, x: float, event: int, settings: Settings) -> Series:
    before = series.detector
    before = before if isinstance(before, PageHinkley) else PageHinkley()
    unit, noise, weight = _unit(series, x, before)
    borne = 1.0 + MORE_RISE * settings.kept
    delta, threshold = borne * settings.delta, borne * settings.threshold
    test = before.fold(_bounded(x, before.mean, unit, before.seen), delta=delta, scale=unit)
    if test.seen >= settings.min_visits:
        if test.rise > threshold:
            return _detected(series, before.mean, x, event)
        if test.fall > threshold:
            test = PageHinkley()
    return Series(test, x, _recent(series, x), noise, weight, *series[5:])


def _by_adwin(series: Series, x: float, event: int, settings: Settings) -> Series:
    before = series.detector
    before = before if isinstance(before, Adwin) else Adwin()
    unit, noise, weight = _unit(series, x, before)
    window = before.fold(_bounded(x, before.mean, unit, before.width))
    if window.seen % settings.check_visits == 0 and window.width >= settings.min_visits:
        surer = 1.0 + MORE_SURE * settings.kept
        cut = window.cut(confidence=settings.confidence, scale=unit, surer=surer)
        if cut is not None and cut.after > cut.before:
            return _detected(series, cut.before, x, event)
        if cut is not None:
            window = Adwin()
    return Series(window, x, _recent(series, x), noise, weight, *series[5:])


def _unit(series: Series, x: float, before: PageHinkley | Adwin) -> tuple[float, float, float]:
    """The noise in force, and its sums after one more difference; the first one is taken as it is."""
    last, noise, weight = series.last, series.noise, series.weight
    spread, level = math.sqrt(before.variance), LEAST_NOISE * abs(before.mean)
    least = (spread if spread > level else level) or 1e-12
    if last != last:
        return least, noise, weight
    square = (x - last) ** 2 / 2
    if not weight:
        return max(math.sqrt(square), least), square, 1.0
    unit, most = math.sqrt(noise / weight), MOST * MOST / 2
    unit = unit if unit > least else least
    square = square if square < most * unit * unit else most * unit * unit
    return unit, square + NOISE_FADING * noise, 1.0 + NOISE_FADING * weight


def _bounded(x: float, mean: float, unit: float, count: int) -> float:
    most = mean + MOST * unit
    return most if x > most and count > 1 else x


def _recent(series: Series, x: float) -> float:
    return x if series.recent != series.recent else series.recent + RECENT_SHARE * (x - series.recent)


def _detected(series: Series, before: float, x: float, event: int) -> Series:
    return Series(
        detections=series.detections + 1,
        last_event=event,
        loss_before=before**3,
        loss_after=_recent(series, x) ** 3,
    )
