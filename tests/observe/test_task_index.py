"""The list of tasks, against a list that is sorted the plain way."""

import threading
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.evaluation.drift import Detection, Series
from streammeta.observe.task_index import VISITS, TaskIndex
from streammeta.outcomes import TaskChanged
from streammeta.state.store import TaskStats
from tests.observe.outcomes import Clock, learned, turned

events = st.lists(
    st.tuples(st.sampled_from("abcdefgh"), st.one_of(st.floats(0, 100), st.just(float("nan")))), max_size=60
)


@given(events)
def test_lists_are_sorted(stream: list[tuple[str, float]]) -> None:
    """Worst loss first (unknown last), most events first, stalest first, for any stream."""
    index = TaskIndex(Clock())
    losses, counts, last = {}, dict.fromkeys("abcdefgh", 0), {}
    for number, (task, loss) in enumerate(stream, 1):
        counts[task] += 1
        losses[task], last[task] = loss, number
        index(learned(task=task, events=number, task_events=counts[task], task_loss=loss))
    index.settle()
    for sort, key in (
        ("loss", lambda task: -losses[task] if losses[task] == losses[task] else float("inf")),
        ("events", lambda task: -counts[task]),
        ("staleness", lambda task: last[task]),
    ):
        matching, rows = index.top(sort, 100)
        assert matching == len(losses)
        assert [key(row.task) for row in rows] == sorted(map(key, losses))
        assert index.top(sort, 3)[1] == rows[:3]
        _, turned = index.top(sort, 100, ascending=True)
        unknown = sum(row.loss is None for row in rows) if sort == "loss" else 0
        known = [key(row.task) for row in rows[: len(rows) - unknown]]
        assert [key(row.task) for row in turned[: len(known)]] == known[::-1]
        assert [row.loss for row in turned[len(known) :]] == [row.loss for row in rows[len(known) :]]
    assert [row.task for row in index.top("task", 100, ascending=True)[1]] == sorted(losses)
    assert [row.task for row in index.top("task", 100)[1]] == sorted(losses, reverse=True)
    for row in index.top("loss", 100)[1]:
        assert (row.events, row.staleness_events) == (counts[row.task], len(stream) - last[row.task])


def test_search_ignores_case() -> None:
    """Any part of the id; the count is that of the matches."""
    index = TaskIndex(Clock())
    for task in ("Customer-17", "customer-2", "sensor"):
        index(learned(task=task))
    index.settle()
    assert index.top("loss", 1, "CUSTOMER")[0] == 2
    assert [row.task for row in index.top("loss", 10, "17")[1]] == ["Customer-17"]
    assert index.top("loss", 10, "none") == (0, [])


def test_last_visits_oldest_first() -> None:
    """The last 16 losses: at memory where there is one, else after adaptation."""
    index = TaskIndex(Clock())
    for number in range(1, 41):
        at_memory = float("nan") if number == 40 else 2.0 * number
        index(learned(task="a", events=10 * number, loss_adapted=float(number), loss_memory=at_memory))
    index.settle()
    found = index.get("a")
    assert found is not None
    row, visits = found
    assert row.recent == [*(2.0 * number for number in range(40 - VISITS + 1, 40)), 40.0]
    assert visits.at == [10 * number for number in range(40 - VISITS + 1, 41)]
    assert visits.memory[-1] is None
    assert visits.adapted[-1] == 40.0
    assert index.get("b") is None


def test_begins_with_what_is_stored() -> None:
    """Tasks of the state are listed before they are seen again, with event time and staleness."""
    index = TaskIndex(Clock())
    index.begin(100, [("a", TaskStats(3, 90, 5_000, 4.0, 2.0, 1.0, 0.5)), ("b", TaskStats())])
    _, (first, second) = index.top("loss", 10)
    assert (first.task, first.events, first.staleness_events, first.loss) == ("a", 3, 10, 1.0)
    assert (first.last_seen_seconds, first.recent) == (5.0, [])
    assert (second.task, second.loss) == ("b", None)
    many = TaskIndex(Clock())
    many.begin(0, [(f"t{number}", TaskStats(events=number)) for number in range(1000)])
    assert [row.events for row in many.top("events", 3)[1]] == [999, 998, 997]


def test_memory_is_bounded() -> None:
    """Beyond the capacity the task seen longest ago goes, and comes back with its next event."""
    index = TaskIndex(Clock(), capacity=3)
    index.begin(0, [(task, TaskStats()) for task in "pqrs"])
    assert len(index) == 3
    for number, task in enumerate("abcad", 1):
        index(learned(task=task, events=number, task_events=number))
    index.settle()
    assert len(index) == 3
    assert {row.task: row.events for row in index.top("loss", 9)[1]} == {"c": 3, "a": 4, "d": 5}


def forgotten(task: str) -> TaskChanged:
    """A tombstone of the task was applied."""
    return TaskChanged("tasks", 0, 9, task, "forget", known=True)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), max_size=40))
def test_what_is_forgotten_is_listed_no_more(stream: list[tuple[str, bool]]) -> None:
    """Whoever comes into its place, and the task itself when it is back, brings nothing of it along."""
    index, visits = TaskIndex(Clock(), capacity=4), dict[str, list[int]]()
    for number, (task, forget) in enumerate(stream, 1):
        if forget:
            index(forgotten(task))
            visits.pop(task, None)
            continue
        seen = visits.pop(task, [])
        visits[task] = [*seen, number]  # to the end: seen last
        if len(visits) > 4:
            del visits[next(iter(visits))]
        index(learned(task=task, events=number, task_events=len(visits[task])))
    index.settle()
    assert len(index) == len(visits)
    for task, at in visits.items():
        found = index.get(task)
        assert found is not None
        assert (found[0].events, found[1].at) == (len(at), at[-VISITS:])


def test_shown_within_a_second() -> None:
    """With the first outcome after it, of whatever kind."""
    clock = Clock()
    index = TaskIndex(clock)
    index(learned(task="a", task_events=7))
    clock.seconds += 1
    index(turned())
    assert index.top("loss", 9)[1][0].events == 7


def test_other_outcomes_are_not_its_business() -> None:
    """A turn of the loop adds no task."""
    index = TaskIndex(Clock())
    index(turned())
    assert index.top("loss", 9) == (0, [])


def test_the_time_of_an_event_is_its_own() -> None:
    """Now minus age, not now."""
    index = TaskIndex(Clock())
    index(learned(task="a", age_seconds=400.0))
    index.settle()
    assert index.top("loss", 1)[1][0].last_seen_seconds == pytest.approx(600.0)


def test_can_be_read_while_it_is_written() -> None:
    """A reader in another thread always gets a whole list, also while the index grows."""
    index, done, problems = TaskIndex(Clock()), threading.Event(), []

    def read() -> None:
        while not done.is_set():
            try:
                index.top("loss", 50)
                index.get("task-7")
            except Exception as error:  # noqa: BLE001 (any of them is the failure looked for)
                problems.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for number in range(1, 20_001):
            index(learned(task=f"task-{number % 3000}", events=number))
    finally:
        done.set()
    for reader in readers:
        reader.join(120)
    assert len(index) == 3000
    assert problems == []


def test_tasks_that_got_worse_are_listed_the_last_first() -> None:
    """From the state and from what is told; those that never did are left out, and a vacated row forgets."""
    index = TaskIndex(Clock(), capacity=3)
    drift = Series(detections=2, last_event=40, loss_before=0.1, loss_after=0.4)
    index.begin(50, [("old", TaskStats(30, 45, drift=drift)), ("calm", TaskStats(20, 50))])
    found = [Detection("new", 51, 0.2, 0.9), Detection("", 51, 1.0, 2.0)]
    index(replace(learned(events=51, task="new"), drifts=found))
    index.settle()
    matching, rows = index.top("drift", 10)
    assert matching == 2
    assert [(row.task, row.drifts, row.drift_event, row.loss_before, row.loss_after) for row in rows] == [
        ("new", 1, 51, 0.2, 0.9),
        ("old", 2, 40, 0.1, 0.4),
    ]
    assert index.top("events", 10)[0] == 3
    calm = index.get("calm")
    assert calm is not None
    assert (calm[0].drifts, calm[0].drift_event, calm[0].loss_before) == (0, None, None)
    index(learned(events=52, task="fourth"))
    index.settle()
    assert [row.task for row in index.top("drift", 10)[1]] == ["new"]
