"""What losses were at first: from the curves, so that a restart forgets it not."""

import numpy as np
import pytest

from streammeta.observe.beginning import FIRST_EVENTS, First, first_of
from streammeta.observe.history import History
from streammeta.observe.history_file import pack, unpack
from streammeta.observe.status import Status
from tests.observe.outcomes import Clock, learned


def told(events: int) -> History:
    """The curves of so many events, whose losses are their numbers."""
    history = History(Clock())
    for number in range(1, events + 1):
        history(learned(events=number, loss_adapted=float(number), loss_memory=np.nan))
    history.close_row()
    return history


def test_the_first_events_are_meant() -> None:
    """Of the first 50, or of those there are; a loss that was never known is not."""
    assert first_of(told(0).view().events) is None
    few = first_of(told(4).view().events)
    assert few is not None
    assert (few.events, few.adapted) == (4, 2.5)
    many = first_of(told(400).view().events)
    assert many is not None
    assert many.adapted == pytest.approx((1 + FIRST_EVENTS) / 2, abs=0.6)
    assert np.isnan(many.memory)


def test_a_restart_goes_on_from_them() -> None:
    """A status that begins from kept curves tells their first losses, and means on where they were few."""
    kept = unpack(pack(told(30), {}))
    first = first_of(kept.view().events)
    names = {"topic": "t", "algorithm": "moml", "version": "1", "torch_version": "2"}
    status = Status(**names, clock=Clock(), started_at_seconds=0.0)
    status.begin(30, 0.1, 0.1, first=first)
    assert status.snapshot()["losses"]["adapted"]["first"] == pytest.approx(15.5)
    for number in range(31, 61):
        status(learned(events=number, loss_adapted=float(number)))
    assert status.snapshot()["losses"]["adapted"]["first"] == pytest.approx(25.5)
    assert isinstance(first, First)
