"""A bounded track against all rows kept."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.observe.track import Numbers, Track

COLUMNS = {"mean": "mean", "min": "min", "max": "max", "last": "last", "sum": "sum"}
numbers = st.one_of(st.just(math.nan), st.floats(-1e6, 1e6))


def table(values: list[float]) -> Numbers:
    """Rows in which every column holds the same number."""
    return np.array(values)[:, None].repeat(len(COLUMNS), axis=1)


def expected(values: list[float]) -> list[float]:
    """One bucket of these values, by the words of each reduction."""
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return [math.nan] * 4 + [0.0]
    return [math.fsum(known) / len(known), min(known), max(known), known[-1], math.fsum(known)]


@given(st.lists(numbers, max_size=70), st.lists(st.integers(1, 9), min_size=1, max_size=70))
def test_buckets_are_the_reduced_rows(values: list[float], cuts: list[int]) -> None:
    """Whatever came in which portions: consecutive rows, `width` in each bucket but the last, none lost.

    A mean weighs each merged bucket by its rows, so it is exact where every number is known.
    """
    track = Track(COLUMNS, capacity=8)
    rest = table(values)
    while len(rest):
        cut = cuts.pop() if cuts else 5
        track.extend(rest[:cut])
        rest = rest[cut:]
    assert track.weights.sum() == len(values)
    assert len(track.weights) <= 8
    assert all(track.weights[:-1] == track.width)
    ends = np.cumsum(track.weights).astype(int)
    for bucket, end, weight in zip(track.buckets, ends, track.weights.astype(int), strict=True):
        wanted = expected(values[end - weight : end])
        first = 0 if all(map(math.isfinite, values[end - weight : end])) else 1
        np.testing.assert_allclose(bucket[first:], wanted[first:], rtol=1e-9, atol=1e-6)


def test_at_least_half_of_the_capacity_is_used() -> None:
    """A long life keeps between 4 and 8 of 8 buckets."""
    track = Track(COLUMNS, capacity=8)
    for count in range(1, 400):
        track.extend(table([1.0]))
        assert len(track.weights) >= min(count, 4)
    assert track.width == 64


def test_goes_on_from_what_was_kept() -> None:
    """Restored in the middle, it ends with the same buckets."""
    values = [float(n) for n in range(100)]
    whole, first, second = (Track(COLUMNS, capacity=8) for _ in range(3))
    whole.extend(table(values))
    first.extend(table(values[:37]))
    second.restore(first.buckets, first.weights, first.width)
    second.extend(table(values[37:]))
    np.testing.assert_array_equal(second.buckets, whole.buckets)


def test_a_reader_keeps_what_it_saw() -> None:
    """Arrays that were handed out never change."""
    track = Track(COLUMNS, capacity=4)
    track.extend(table([1.0, 2.0, 3.0]))
    seen, copy = track.buckets, track.buckets.copy()
    track.extend(table([4.0, 5.0, 6.0, 7.0, 8.0, 9.0]))
    np.testing.assert_array_equal(seen, copy)


@pytest.mark.parametrize("capacity", [0, 1, 7])
def test_an_odd_capacity_is_refused(capacity: int) -> None:
    """Neighbours would have no partner."""
    with pytest.raises(ValueError, match="must be even"):
        Track(COLUMNS, capacity)


def test_what_does_not_fit_is_not_restored() -> None:
    """Buckets of another number of columns."""
    with pytest.raises(ValueError, match="do not fit"):
        Track(COLUMNS, 4).restore(np.zeros((2, 3)), np.ones(2), 1)
