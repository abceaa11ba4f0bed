"""Which records are one iteration."""

import math

import numpy as np

from streammeta.episodes.gathering import Gathering, Taken
from streammeta.errors import BadEvent, Reason
from streammeta.events import Record, TaskEvent, episode_of
from tests.networks import arrays, embedded, event, network

REFUSAL = BadEvent(Reason.UNDECODABLE, "for the test")


def taken(read: TaskEvent | BadEvent) -> Taken:
    """What was read, from some record."""
    return Taken(Record("tasks", 0, 0, 0, None, None), read, 0.0)


def shapes(read: TaskEvent) -> object:
    """The shape of the support alone: enough for a test."""
    return read.episode.support.x.shape


def an_event(task: str, examples: int = 2) -> TaskEvent:
    """An event with so many support examples."""
    return event(task, arrays(np.random.default_rng(examples), support=examples))


def test_full() -> None:
    """An iteration is complete with its last event, not before, and the next one begins empty."""
    gathering = Gathering(2, 0.5, shapes)
    gathering.take(taken(an_event("a")), 0.0)
    assert (gathering.open, gathering.complete) == (True, False)
    gathering.take(taken(an_event("b")), 0.0)
    assert gathering.complete
    assert [one.read.task for one in gathering.close() if isinstance(one.read, TaskEvent)] == ["a", "b"]
    assert (gathering.open, gathering.close()) == (False, [])


def test_a_repeated_task_and_other_shapes_do_not_join() -> None:
    """Each of the two closes the iteration before it; after that it may begin the next one."""
    gathering = Gathering(5, 0.5, shapes)
    gathering.take(taken(an_event("a")), 0.0)
    assert gathering.admits(an_event("b"))
    for other in (an_event("a"), an_event("b", examples=3)):
        assert not gathering.admits(other)
    gathering.close()
    for other in (an_event("a"), an_event("b", examples=3)):
        assert gathering.admits(other)


def test_it_lingers_from_its_first_event() -> None:
    """Later events do not make it wait longer; without an event it never is due."""
    gathering = Gathering(5, 0.5, shapes)
    assert gathering.left_seconds(100.0) == math.inf
    gathering.take(taken(REFUSAL), 1.0)
    assert gathering.left_seconds(100.0) == math.inf
    gathering.take(taken(an_event("a")), 2.0)
    gathering.take(taken(an_event("b")), 2.4)
    assert gathering.left_seconds(2.25) == 0.25
    assert gathering.left_seconds(2.5) == 0.0
    gathering.close()
    assert gathering.left_seconds(100.0) == math.inf


def test_refused_records_wait_with_the_events_and_only_with_them() -> None:
    """One that comes alone is complete at once; one among events neither fills nor closes the iteration."""
    gathering = Gathering(2, 0.5, shapes)
    gathering.take(taken(REFUSAL), 0.0)
    assert (gathering.open, gathering.complete) == (False, True)
    assert len(gathering.close()) == 1
    gathering.take(taken(an_event("a")), 0.0)
    assert gathering.admits(REFUSAL)
    gathering.take(taken(REFUSAL), 0.0)
    assert (gathering.open, gathering.complete) == (True, False)
    assert len(gathering.close()) == 2


def test_shapes_are_those_of_the_tensors() -> None:
    """Integers beside floats can be stacked where the model casts both, not where it looks numbers up."""
    x, y = np.array([[1, 2]]), np.array([[1.0]])
    whole, real = (episode_of(a, y, a, y) for a in (x, x.astype(float)))
    plain, looking_up = network(), network(f"{embedded.__module__}:embedded")
    assert plain.shapes(whole) == plain.shapes(real)
    assert looking_up.shapes(whole) != looking_up.shapes(real)
    assert plain.shapes(whole) != plain.shapes(episode_of(x, y, x[:, :1], y))
    assert plain.shapes(whole) != plain.shapes(episode_of(x, y[0], x, y))
