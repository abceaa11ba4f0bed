"""The comparison of a made step with the plain one: each kind of difference is named, rounding is none."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nan

from streammeta.errors import ConfigError, StreammetaError
from streammeta.learner.verification import Output, verify

OUTPUTS = [Output("meta-parameters", 0), Output("adapted loss")]
DTYPES = [torch.float32, torch.float64]


def step(w: Tensor, x: Tensor) -> list[Tensor]:
    """Moves w a little, and tells a loss."""
    return [w - 1e-4 * x, (w * x).sum()]


def inputs(dtype: torch.dtype = torch.float64) -> list[Tensor]:
    """Parameters and x, five numbers each."""
    draws = torch.Generator().manual_seed(2)
    return [torch.randn(5, dtype=dtype, generator=draws) for _ in range(2)]


def changed(change: Callable[[list[Tensor]], list[Tensor]]) -> Callable[..., list[Tensor]]:
    """The step, and then something wrong."""
    return lambda *flat: change(step(*flat))


def refusal(candidate: Callable[..., list[Tensor]], given: list[Tensor] | None = None) -> str:
    """What is said of the candidate."""
    with pytest.raises(ConfigError) as caught:
        verify(step, candidate, given or inputs(), OUTPUTS)
    return str(caught.value)


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_is_no_difference(dtype: torch.dtype) -> None:
    """Another order of the same sums passes; what is given back is the candidate's."""
    given = inputs(dtype)

    def other(w: Tensor, x: Tensor) -> list[Tensor]:
        return [w - x / 1e4, (w * x).flip(0).cumsum(0)[-1]]

    found = verify(step, other, given, OUTPUTS)
    assert all(torch.equal(one, two) for one, two in zip(found, other(*given), strict=True))


@pytest.mark.parametrize(("dtype", "off"), [(torch.float32, 2.0), (torch.float64, 1.0001)])
def test_a_wrong_step_of_a_small_rate_is_told(dtype: torch.dtype, off: float) -> None:
    """Parameters of order 1 that move by 1e-4 are judged by that move, down to rounding of the dtype."""

    def wrong(w: Tensor, x: Tensor) -> list[Tensor]:
        return [w - off * 1e-4 * x, (w * x).sum()]

    with pytest.raises(ConfigError, match=r"another meta-parameters than the plain one.*largest number"):
        verify(step, wrong, inputs(dtype), OUTPUTS)


def test_each_kind_of_difference_is_named() -> None:
    """A value, a shape, NaN at another place: with the output's name and what may cause it."""
    assert "another adapted loss" in refusal(changed(lambda out: [out[0], 1.001 * out[1]]))
    assert "shape [1], not []" in refusal(changed(lambda out: [out[0], out[1][None]]))
    gone = torch.tensor([nan, 0, 0, 0, 0])
    said = refusal(changed(lambda out: [out[0] + gone, out[1]]))
    assert "another meta-parameters" in said
    assert "NaN at other places" in said
    assert "no counters, no random numbers, no values taken out" in said


def test_nan_at_the_same_place_is_no_difference() -> None:
    """A task's first visit has no loss of its memory."""
    w, x = inputs()
    found = verify(step, step, [w, torch.where(x == x[1], nan, x)], OUTPUTS)
    assert found[0].isnan().tolist() == [False, True, False, False, False]


def test_of_what_overflows_nothing_is_said() -> None:
    """Infinities of other orders of sums differ."""
    w, x = inputs()
    verify(step, changed(lambda out: [out[0], out[1] * 2]), [w, x * 1e308 * 10], OUTPUTS)


def test_flags_and_empty_outputs_are_not_compared() -> None:
    """The verdict whether all is finite, and predictions that were not asked for."""
    outputs = [Output("verdict"), Output("predictions")]
    found = verify(
        lambda: [torch.tensor(True), torch.zeros(0)],
        lambda: [torch.tensor(False), torch.zeros(0)],
        [],
        outputs,
    )
    assert not found[0]


def test_a_candidate_that_fails_alone_is_refused() -> None:
    """Not the data's fault: they pass the plain step."""

    def fails(*_: Tensor) -> list[Tensor]:
        raise IndexError("index 7 is out of bounds")

    said = refusal(fails)
    assert "fails where the plain one does not (test_verification.py, line" in said
    assert "IndexError: index 7 is out of bounds" in said


def test_what_the_plain_step_raises_passes() -> None:
    """The data are at fault: the caller judges it."""

    def plain(*_: Tensor) -> list[Tensor]:
        raise ValueError("a bad value")

    with pytest.raises(ValueError, match="a bad value"):
        verify(plain, step, inputs(), OUTPUTS)


def test_a_machine_without_memory_blames_no_step() -> None:
    """Out of memory in the candidate is no difference."""

    def hungry(*_: Tensor) -> list[Tensor]:
        return [torch.empty(1 << 60)]

    with pytest.raises(StreammetaError, match="the machine cannot compute") as caught:
        verify(step, hungry, inputs(), OUTPUTS)
    assert not isinstance(caught.value, ConfigError)
