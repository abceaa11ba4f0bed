"""Equality of events, bit by bit."""

from collections.abc import Iterable
from itertools import islice

from streammeta.events import Array, Episode

Event = tuple[str, Episode[Array]]


def frozen(event: Event) -> tuple[object, ...]:
    """Task, shapes, dtypes and bytes: equal when the events are."""
    task, episode = event
    arrays = [*episode.support, *episode.query]
    return (task, *((array.shape, array.dtype.str, array.tobytes()) for array in arrays))


def first(count: int, events: Iterable[Event]) -> list[tuple[object, ...]]:
    """The first events, frozen."""
    return [frozen(event) for event in islice(events, count)]
