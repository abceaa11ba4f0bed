"""Rates as they were written."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streammeta.observe.rates import as_configured


@given(st.decimals(0, 10, places=5).map(float))
def test_a_rate_survives_the_learners_numbers(rate: float) -> None:
    """Of 32 or 64 bits, it is shown as configured."""
    assert as_configured(float(np.float32(rate))) == rate
    assert as_configured(rate) == rate


@given(st.floats())
def test_any_number_is_taken(rate: float) -> None:
    """Also infinities, NaN and those beyond 32 bits."""
    shown = as_configured(rate)
    with np.errstate(over="ignore"):
        assert shown == rate or np.float32(shown) == np.float32(rate) or np.isnan(rate)
