"""Fading means against their definition, after every prefix."""

import json
import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.evaluation.forgetting import Recalled
from streammeta.evaluation.prequential import FADING, Fading, Prequential, Scores, Windowed

NUMBERS = st.floats(-1e6, 1e6)
NOT_FINITE = (math.nan, math.inf, -math.inf)


def direct(values: Sequence[float], factor: float) -> float:
    """Σ λ^age x / Σ λ^age, the last value of age 0."""
    weights = [factor**age for age in reversed(range(len(values)))]
    return math.fsum(w * x for w, x in zip(weights, values, strict=True)) / math.fsum(weights)


@given(values=st.lists(NUMBERS, min_size=1, max_size=80), factor=st.floats(0, 1))
def test_fading_mean_is_the_definition_after_every_prefix(values: list[float], factor: float) -> None:
    """For any factor: 0 is the last value, 1 the plain mean."""
    fading = Fading()
    for n, value in enumerate(values, 1):
        fading = fading.fold(value, factor)
        assert fading.mean == pytest.approx(direct(values[:n], factor), rel=1e-9, abs=1e-5)


@given(
    values=st.lists(NUMBERS, min_size=1, max_size=30), bad=st.sampled_from(NOT_FINITE), at=st.integers(0, 30)
)
def test_a_value_that_is_not_finite_leaves_the_mean(values: list[float], bad: float, at: int) -> None:
    """One NaN or overflow anywhere in the stream: the mean is that of the others, to the bit."""
    with_bad = [*values[:at], bad, *values[at:]]
    one, other = Fading(), Fading()
    for value in values:
        one = one.fold(value)
    for value in with_bad:
        other = other.fold(value)
    assert one == other


def test_the_mean_is_unknown_at_first_and_unbiased_then() -> None:
    """NaN before the first value, which is the mean alone; a constant stays itself."""
    assert math.isnan(Fading().mean)
    assert Fading().fold(3.5).mean == 3.5
    fading = Fading()
    for _ in range(500):
        fading = fading.fold(0.1)
    assert fading.mean == pytest.approx(0.1, rel=1e-13)


def test_about_a_hundred_events_count() -> None:
    """The weight of all events tends to 1/(1 − λ) = 100."""
    fading = Fading()
    for _ in range(3000):
        fading = fading.fold(1.0)
    assert fading.weight == pytest.approx(100, rel=1e-9)
    assert FADING == 0.99


def test_folding_is_pure() -> None:
    """The value before stays what it was."""
    before = Fading().fold(1.0)
    before.fold(2.0)
    assert before == Fading(1.0, 1.0)


@given(st.lists(st.tuples(*[NUMBERS | st.just(math.nan)] * 4), max_size=30))
def test_the_four_means_do_not_mix(rows: list[tuple[float, float, float, float]]) -> None:
    """Each is the fold of its own column, in the order of the fields."""
    means = Prequential()
    for row in rows:
        means = means.fold(*row)
    for column, mean in enumerate(means[:4]):
        alone = Fading()
        for row in rows:
            alone = alone.fold(row[column])
        assert mean == alone


@given(values=st.lists(NUMBERS, min_size=1, max_size=80), block=st.integers(1, 7), blocks=st.integers(1, 4))
def test_a_window_is_the_plain_mean_of_the_last_values(values: list[float], block: int, blocks: int) -> None:
    """After every prefix: `blocks` whole blocks, and the one that is being filled."""
    window = Windowed()
    for n, value in enumerate(values, 1):
        window = window.fold(value, block=block, blocks=blocks)
        begun = (n - 1) // block * block
        spanned = values[max(0, begun - blocks * block) : n]
        assert window.mean == pytest.approx(math.fsum(spanned) / len(spanned), rel=1e-9, abs=1e-5)


def test_a_window_knows_nothing_at_first_and_of_no_nan() -> None:
    """NaN before the first value; one that is not finite changes nothing."""
    assert math.isnan(Windowed().mean)
    window = Windowed().fold(3.0, block=2, blocks=1)
    assert window.fold(math.nan, block=2, blocks=1) == window


def test_the_last_thousand_events_count_in_a_window() -> None:
    """A change of the loss is forgotten after 1,100 events; the fading mean forgets over some hundred."""
    means = Prequential()
    for loss in (*[9.0] * 500, *[1.0] * 1000):
        means = means.fold(loss, 1.0, 1.0, 1.0)
    assert means.windows.meta.mean == pytest.approx((9 * 100 + 1000) / 1100)
    for _ in range(100):
        means = means.fold(1.0, 1.0, 1.0, 1.0)
    assert means.windows.meta.mean == 1.0


def test_means_survive_json() -> None:
    """Windows, accuracies and forgetting; those of a state without them begin at nothing."""
    means = Prequential()
    for number in range(250):
        accuracy = Scores(0.1, 0.2, math.nan if number == 0 else 0.3)
        means = means.fold(number, 2.0, 3.0, 0.5, accuracy, Recalled(1.5, 0.5))
    assert Prequential.read(json.loads(json.dumps(means))) == means
    older = Prequential.read(json.loads(json.dumps(means[:4])))
    assert older == Prequential(*means[:4])
    assert (means.forgetting.mean, means.accuracy_memory.mean) == pytest.approx((0.5, 0.3))
