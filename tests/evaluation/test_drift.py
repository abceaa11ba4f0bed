"""Drift: the detectors are River's, number by number; what they are given makes them fit for losses."""

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from river.drift import ADWIN
from river.drift import PageHinkley as RiverPageHinkley

from streammeta.evaluation.adwin import PER_ROW, ROWS, SHORTEST, Adwin
from streammeta.evaluation.drift import BEGUN, Detector, Settings, folded
from streammeta.evaluation.page_hinkley import PageHinkley

SETTINGS = [Settings("page_hinkley"), Settings("adwin")]
BY_DETECTOR = pytest.mark.parametrize("settings", SETTINGS, ids=[one.detector for one in SETTINGS])


def levels(seed: int, numbers: int = 1500) -> list[float]:
    """Numbers whose level jumps now and then: normal ones, or (odd seeds) zeros and ones."""
    draws = random.Random(seed)
    level, made = 1.0, []
    for _ in range(numbers):
        if draws.random() < 0.006:
            level = draws.uniform(0, 6)
        made.append(float(draws.random() < level / 6) if seed % 2 else draws.gauss(level, 0.5))
    return made


@pytest.mark.parametrize(("alpha", "delta", "threshold"), [(0.9999, 0.005, 50), (1, 0.5, 8), (0.99, 0.1, 5)])
def test_page_hinkley_is_rivers(alpha: float, delta: float, threshold: float) -> None:
    """Detections of rises and of falls at the same numbers as River's two-sided test."""
    found = 0
    for seed in range(6):
        river = RiverPageHinkley(min_instances=30, delta=delta, threshold=threshold, alpha=alpha)
        test = PageHinkley()
        for x in levels(seed):
            river.update(x)  # type: ignore[no-untyped-call]  # River has no types
            test = test.fold(x, delta=delta, alpha=alpha)
            drift = test.seen >= 30 and max(test.rise, test.fall) > threshold
            assert drift == river.drift_detected
            if drift:
                test, found = PageHinkley(), found + 1
    assert found > 6


@pytest.mark.parametrize(("clock", "confidence"), [(1, 0.002), (8, 0.01), (4, 0.3)])
def test_adwin_is_rivers(clock: int, confidence: float) -> None:
    """Window, variance and detections after every number, as long as no bucket is dropped."""
    found = 0
    for seed in range(6):
        river = ADWIN(delta=confidence, clock=clock, grace_period=20)  # type: ignore[no-untyped-call]  # as above
        window = Adwin()
        for x in levels(seed):
            river.update(x)  # type: ignore[no-untyped-call]  # River has no types
            window = window.fold(x, rows=20)
            looks = window.seen % clock == 0 and window.width > 20
            cut = window.cut(confidence=confidence) if looks else None
            assert (cut is not None) == river.drift_detected
            if cut is not None:
                window, found = Adwin(), found + 1
                continue
            assert window.width == river.width
            assert math.isclose(window.squares, river.variance, rel_tol=1e-9, abs_tol=1e-9)
    assert found > 6


def test_a_window_is_bounded_and_keeps_the_newest() -> None:
    """Buckets, sum and squares are those of the last numbers, and never too many."""
    window, numbers = Adwin(), levels(2, 5000)
    for x in numbers:
        window = window.fold(x)
        assert len(window.rows) <= ROWS
        assert all(len(row) <= PER_ROW for row in window.rows)
    kept = np.array(numbers[-window.width :])
    assert PER_ROW * (2 ** (ROWS - 1) - 1) < window.width < PER_ROW * 2**ROWS
    assert math.isclose(window.total, kept.sum(), rel_tol=1e-9)
    assert math.isclose(window.squares, ((kept - kept.mean()) ** 2).sum(), rel_tol=1e-9)


def test_the_cut_is_where_the_level_changed() -> None:
    """Both means of the two levels, no part shorter than the shortest."""
    window = Adwin()
    for x in [1.0, 1.2] * 40 + [3.0, 3.2] * SHORTEST:
        window = window.fold(x)
    cut = window.cut(confidence=0.05)
    assert cut is not None
    assert cut.before == pytest.approx(1.1, abs=0.05)
    assert 2.0 < cut.after < 3.2


def chi_squared(draws: np.random.Generator, level: float) -> float:
    """A mean of ten squared errors."""
    return float(level * draws.chisquare(10) / 10)


def run(losses: Iterator[float] | list[float], settings: Settings) -> list[tuple[int, float, float]]:
    """(place, before, after) of each detection."""
    series, found = BEGUN, []
    for event, loss in enumerate(losses, 1):
        before, series = series, folded(series, loss, event, settings)
        if series.detections > before.detections:
            assert series.last_event == event
            found.append((event, series.loss_before, series.loss_after))
    return found


@BY_DETECTOR
def test_a_jump_is_found_and_its_levels_told(settings: Settings) -> None:
    """Soon after it, once, with the level before and (so far) after."""
    draws = np.random.default_rng(3)
    losses = [chi_squared(draws, 0.1 if n < 100 else 1.0) for n in range(130)]
    ((event, before, after),) = run(losses, settings)
    assert 100 < event <= 115
    assert before == pytest.approx(0.1, rel=0.3)
    assert 0.3 < after < 1.5


@BY_DETECTOR
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_no_threshold_depends_on_the_scale(settings: Settings, scale: float) -> None:
    """The same losses in another unit: the same detections."""
    draws = np.random.default_rng(4)
    losses = [chi_squared(draws, 0.1 if n % 200 < 120 else 0.9) for n in range(800)]
    expected = [event for event, *_ in run(losses, settings)]
    assert len(expected) >= 3
    assert [event for event, *_ in run([loss * scale for loss in losses], settings)] == expected


@BY_DETECTOR
def test_a_loss_that_falls_while_its_task_is_learned_is_no_drift(settings: Settings) -> None:
    """From forty times its level, within some ten visits; and the jump after it is seen."""
    draws = np.random.default_rng(5)
    seen = 0
    for _ in range(60):
        losses = [chi_squared(draws, 1 + 39 * math.exp(-n / 8)) for n in range(90)]
        assert run(losses, settings) == []
        seen += bool(run([*losses, *(chi_squared(draws, 10.0) for _ in range(30))], settings))
    assert seen >= 57


@BY_DETECTOR
@pytest.mark.parametrize("odd", [1e6, 0.0, math.inf, math.nan])
def test_one_odd_loss_is_no_drift(settings: Settings, odd: float) -> None:
    """Neither a huge one nor a perfect one; what is not finite is as if it had not been."""
    draws = np.random.default_rng(6)
    losses = [chi_squared(draws, 1.0) for _ in range(120)]
    assert run([*losses[:60], odd, *losses[60:]], settings) == []
    if not math.isfinite(odd):
        assert folded(BEGUN, odd, 1, settings) is BEGUN


@BY_DETECTOR
def test_a_loss_that_never_varies_and_one_below_zero(settings: Settings) -> None:
    """A constant, or a rise of a five hundredth, is no alarm; losses below zero have levels too."""
    assert run([0.5] * 100 + [0.501] * 100, settings) == []
    assert run([0.0] * 200, settings) == []
    assert len(run([-8.0, -8.1] * 50 + [-1.0, -1.1] * 15, settings)) == 1


def test_another_detector_begins_anew_and_keeps_what_was_detected() -> None:
    """The setting may change between two runs."""
    draws = np.random.default_rng(3)
    series = BEGUN
    for event in range(1, 131):
        series = folded(series, chi_squared(draws, 0.1 if event < 100 else 1.0), event, SETTINGS[0])
    after = folded(series, 1.0, 131, SETTINGS[1])
    assert series.detections == after.detections == 1
    assert (after.last_event, after.loss_before) == (series.last_event, series.loss_before)
    assert isinstance(after.detector, Adwin)
    assert after.detector.width == 1


@pytest.mark.parametrize("detector", ["page_hinkley", "adwin"])
def test_only_getting_worse_is_told(detector: Detector) -> None:
    """A level that falls again and again: nothing."""
    draws = np.random.default_rng(7)
    losses = [chi_squared(draws, 10.0 ** -(n // 100)) for n in range(500)]
    assert run(losses, Settings(detector)) == []
