"""The curves: what they hold, and that they go on after a restart."""

import numpy as np
import pytest

from streammeta.errors import Reason
from streammeta.evaluation.forgetting import Recalled
from streammeta.evaluation.prequential import Prequential, Scores
from streammeta.observe.history import CAPACITY, RECENT, History
from streammeta.observe.history_file import pack, unpack
from streammeta.outcomes import Duplicate, Expired, Skipped
from tests.observe.outcomes import Clock, checkpointed, learned, refused, turned

FADING = {
    "accuracy_meta": 0.25,
    "accuracy_adapted": 0.5,
    "accuracy_memory": 0.75,
    "loss_earlier": 3.0,
    "forgetting": 0.5,
}


@pytest.fixture
def clock() -> Clock:
    """Seconds since 1970 that pass when told to."""
    return Clock()


@pytest.fixture
def history(clock: Clock) -> History:
    """The observer under test."""
    return History(clock)


def stream(history: History, clock: Clock, events: range, per_second: int = 10) -> None:
    """Learn events of rising loss at a steady rate, with a turn of the loop each second."""
    for number in events:
        clock.seconds += 1 / per_second
        history(learned(events=number, loss_adapted=float(number)))
        if number % per_second == 0:
            history(turned(lag=[number]))


def test_a_row_a_second(history: History, clock: Clock) -> None:
    """Throughput, lag, dead letters, duplicates and the broker's state are those of the second."""
    clock.seconds += 0.5
    history(turned(lag=[5, 7]))
    for number in (1, 2, 3):
        history(learned(events=number, loss_adapted=float(number)))
    history(refused(Reason.TOO_LARGE))
    history(Duplicate("tasks", 0, 3))
    history(checkpointed(at=990.0))
    clock.seconds += 0.6
    history(turned(lag=[5, 7]))
    curve = history.view().time
    (row,) = [dict(zip(curve.columns, each, strict=True)) for each in curve.recent]
    assert (row["events"], row["learned"], row["lag"], row["connected"]) == (3, 3, 12, 1)
    assert (row["dead_letters_too_large"], row["duplicates"]) == (1, 1)
    assert (row["loss_adapted"], row["loss_adapted_min"], row["loss_adapted_max"]) == (2, 1, 3)
    assert row["covered_seconds"] == pytest.approx(1.1)
    assert row["checkpoint_age_seconds"] == pytest.approx(1001.1 - 990.0)


def test_a_classifier_of_single_examples(history: History, clock: Clock) -> None:
    """Accuracies and forgetting on both tracks; what waited and what was dropped, each second."""
    means = Prequential().fold(4.0, 2.0, 1.0, 0.5, Scores(0.25, 0.5, 0.75), Recalled(3.0, 0.5))
    history(learned(prequential=means))
    history(Skipped("tasks", 0, 3))
    history(Skipped("tasks", 0, 4))
    history(Expired("tasks", tasks=2, halves=5))
    clock.seconds += 1.1
    history(turned())
    seen = history.view()
    for curve in (seen.events, seen.time):
        found = {name: curve.column(f"fading_{name}").tolist() for name in FADING}
        assert found == {name: [value] for name, value in FADING.items()}
    counts = ("skipped", "dropped_expired", "dropped_unmatched")
    assert [seen.time.column(name).tolist() for name in counts] == [[2], [2], [5]]


def test_without_a_broker_the_lag_is_not_known(history: History, clock: Clock) -> None:
    """Time goes on, and the curve says that nobody was connected."""
    history(turned(lag=[5]))
    for _ in range(3):
        clock.seconds += 1
        history(turned(connected=False, lag=[]))
    curve = history.view().time
    assert curve.column("connected").tolist() == [0, 0, 0]
    assert np.isnan(curve.column("lag")).all()
    assert np.isnan(curve.column("fading_adapted")).all()


def test_the_last_events_are_kept_one_by_one(history: History, clock: Clock) -> None:
    """The whole life in bounded memory, its end in full, both in order."""
    stream(history, clock, range(1, 20_001), per_second=50)
    history.settle()
    seen = history.view().events
    assert CAPACITY / 2 <= len(seen.buckets) <= CAPACITY
    assert seen.recent[:, seen.columns.index("loss_adapted")].tolist() == list(
        range(20_000 - RECENT + 1, 20_001)
    )
    at = seen.column("events")
    assert (np.diff(at) > 0).all()
    assert (at[0], at[-1]) == (seen.width, 20_000)
    whole = seen.buckets[:, seen.columns.index("loss_adapted")]
    assert np.average(whole, weights=seen.weights) == pytest.approx(10_000.5)


def test_numbers_that_are_not_finite_do_not_spoil_a_mean(history: History, clock: Clock) -> None:
    """An overflow is one unknown number, not an unknown bucket."""
    for loss in (1.0, float("inf"), float("nan"), 3.0):
        history(learned(loss_adapted=loss, prequential=Prequential()))
    clock.seconds += 2
    history(turned())
    seen = history.view().time
    assert seen.column("loss_adapted").tolist() == [2.0]
    assert np.isnan(seen.column("fading_adapted")).all()


def test_a_clock_that_goes_back_does_not_break_the_axis(history: History, clock: Clock) -> None:
    """Rows stay in order, and go on when the time is reached again."""
    stream(history, clock, range(1, 50))
    clock.seconds -= 100
    stream(history, clock, range(50, 100))
    clock.seconds += 200
    stream(history, clock, range(100, 150))
    at = history.view().time.column("seconds")
    assert (np.diff(at) >= 0).all()
    assert history.view().events.column("events")[-1] > 100


def test_goes_on_after_a_restart(history: History, clock: Clock) -> None:
    """What is packed holds every event so far; a new process continues the same buckets."""
    undisturbed = History(clock)
    undisturbed_clock = clock.seconds
    stream(history, clock, range(1, 1235))
    kept = unpack(pack(history, {"settings": {"a": 1}}))
    assert kept.notes == {"settings": {"a": 1}}
    assert kept.view().events.column("events")[-1] == 1234
    second = History(clock)
    second.resume(kept.events, kept.time)
    assert second.view().events.column("events")[0] == 4
    stream(second, clock, range(1235, 3001))
    second.settle()
    clock.seconds = undisturbed_clock
    stream(undisturbed, clock, range(1, 3001))
    undisturbed.settle()
    one, other = second.view().events, undisturbed.view().events
    assert one.width == other.width
    for name in ("events", "loss_adapted", "loss_adapted_max", "fading_adapted"):
        place = one.columns.index(name)
        np.testing.assert_allclose(one.buckets[:, place], other.buckets[:, place], rtol=1e-6)


def test_columns_of_another_version(history: History, clock: Clock) -> None:
    """A column that was not kept is unknown, one that is gone is left out."""
    stream(history, clock, range(1, 30))
    kept = unpack(pack(history, {}))
    renamed = kept.events._replace(
        columns=tuple("gone" if name == "gradient_norm" else name for name in kept.events.columns)
    )
    second = History(clock)
    second.resume(renamed, kept.time)
    assert np.isnan(second.view().events.column("gradient_norm")).all()
    assert second.view().events.column("events").tolist() == list(range(1, 30))


def test_the_bytes_are_bounded(history: History, clock: Clock) -> None:
    """However long the life; this is written with each checkpoint."""
    stream(history, clock, range(1, 3000), per_second=2)
    assert len(pack(history, {})) < 150_000


@pytest.mark.parametrize("damage", ["cut", "foreign", "future", "torn"])
def test_what_cannot_be_read_is_told(damage: str, history: History, clock: Clock) -> None:
    """A ValueError, never another kind, so that the daemon can begin curves anew."""
    stream(history, clock, range(1, 30))
    good = pack(history, {})
    bad = {
        "cut": good[: len(good) // 2],
        "foreign": b"something else entirely",
        "future": good.replace(b'\\"format\\": 1', b'\\"format\\": 9'),
        "torn": good.replace(b"events/narrow", b"events/norrow"),
    }[damage]
    assert bad != good
    with pytest.raises(ValueError, match="format 9" if damage == "future" else "damaged"):
        unpack(bad)
