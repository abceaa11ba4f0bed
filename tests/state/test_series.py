"""A series of losses as bytes: every bit comes back, damage is told, and rows of before know none."""

import pytest

from streammeta.errors import StateError
from streammeta.evaluation.drift import BEGUN, Series, Settings, folded
from streammeta.state.rows import pack_stats, unpack_stats
from streammeta.state.series import pack_series, unpack_series
from streammeta.state.store import TaskStats

SETTINGS = [Settings("page_hinkley"), Settings("adwin")]


def series_of(settings: Settings, losses: int) -> Series:
    """After so many losses, with a jump in the middle."""
    series = BEGUN
    for n in range(losses):
        series = folded(series, (0.1 if n < losses / 2 else 5.0) * (1 + n % 7 / 7), n + 1, settings)
    return series


@pytest.mark.parametrize("settings", SETTINGS, ids=["page_hinkley", "adwin"])
@pytest.mark.parametrize("losses", [1, 2, 40, 101, 900])
def test_every_bit_comes_back(settings: Settings, losses: int) -> None:
    """With and without detections, and after a reset."""
    series = series_of(settings, losses)
    packed = pack_series(series)
    assert repr(unpack_series(packed)) == repr(series)
    assert len(packed) <= 608
    for reset in (0, losses):
        stats = TaskStats(losses, windows=(((1.0, 2),), (), ()), reset_after=reset, drift=series)
        assert repr(unpack_stats(pack_stats(stats))) == repr(stats)


def test_one_that_detected_and_has_not_begun_again_comes_back() -> None:
    """As right after a detection."""
    series = Series(detections=3, last_event=70, loss_before=0.1, loss_after=2.0)
    assert repr(unpack_series(pack_series(series))) == repr(series)


def test_a_row_without_a_series_is_what_it_was() -> None:
    """192 bytes where drift is not looked for, so that an older version reads them."""
    assert len(pack_stats(TaskStats(events=3))) == 192
    assert unpack_stats(pack_stats(TaskStats(events=3))).drift is BEGUN
    assert unpack_series(b"") is BEGUN


@pytest.mark.parametrize("settings", SETTINGS, ids=["page_hinkley", "adwin"])
def test_damage_is_told(settings: Settings) -> None:
    """Cut short anywhere, too long, or of an unknown kind."""
    packed = pack_series(series_of(settings, 101))
    for damaged in [packed[:length] for length in range(1, len(packed))] + [
        packed + b"0",
        b"\7" + packed[1:],
    ]:
        with pytest.raises(ValueError, match=r".+"):
            unpack_series(damaged)
    with pytest.raises(StateError, match="drift of a task"):
        unpack_stats(pack_stats(TaskStats(drift=series_of(settings, 101)))[:-1])
