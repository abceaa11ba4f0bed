"""Marks: what happened at one moment, of bounded number, kept with the history."""

from dataclasses import replace

import pytest

from streammeta.evaluation.drift import Detection
from streammeta.observe.history import History
from streammeta.observe.history_file import pack, unpack
from streammeta.observe.marks import MOST, Marks
from streammeta.outcomes import Executing, Learned, RatesChanged, TaskChanged
from tests.observe.outcomes import Clock, learned


def drifted(event: int, *tasks: str) -> Learned:
    """An event that told of drift in these tasks; "" is the stream."""
    found = [Detection(task, event, 0.1, 0.5) for task in tasks]
    return replace(learned(events=event), drifts=found)


def test_each_kind_says_what_happened() -> None:
    """With the event and the time; a change that changes nothing is none."""
    marks = Marks()
    marks.fold(learned(events=7), 1.0)
    marks.fold(RatesChanged(0.01, 0.001), 2.0)
    for _ in range(2):
        marks.fold(Executing(2, 1, 0, 0, 0, 30.0), 3.0)
    marks.fold(drifted(9, "", "a"), 4.0)
    marks.add("restart", 5.0, "started again")
    assert [(mark.kind, mark.events, mark.seconds, mark.words) for mark in marks.all()] == [
        ("rates", 7, 2.0, "learning rates: inner 0.01, meta 0.001"),
        ("executor", 7, 3.0, "2 of 3 shapes compiled, 0 eager"),
        ("stream", 9, 4.0, "the stream got worse: loss 0.1, then 0.5"),
        ("tasks", 9, 4.0, "a got worse"),
        ("restart", 9, 5.0, "started again"),
    ]


def test_tasks_that_get_worse_together_share_a_mark() -> None:
    """It keeps its id, counts them, and names the first."""
    marks = Marks()
    for number, task in enumerate("abcde"):
        marks.fold(drifted(number + 1, task), float(number))
    marks.fold(drifted(9, "f"), 100.0)
    first, second = marks.all()
    assert (first.tasks, first.words) == (5, "5 tasks got worse: a, b, c, …")
    assert (first.events, second.events, second.tasks) == (1, 9, 1)


def test_a_forgotten_task_is_named_no_more() -> None:
    """Its mark stays and counts it, for that tells of the stream."""
    marks = Marks()
    marks.fold(drifted(1, "a", "b"), 1.0)
    marks.fold(drifted(2, "a"), 100.0)
    marks.fold(TaskChanged("tasks", 0, 1, "a", "reset", known=True), 101.0)
    assert [mark.names for mark in marks.all()] == [("a", "b"), ("a",)]
    marks.fold(TaskChanged("tasks", 0, 2, "a", "forget", known=True), 102.0)
    assert [(mark.words, mark.names, mark.tasks) for mark in marks.all()] == [
        ("2 tasks got worse: b, …", ("b",), 2),
        ("… got worse", (), 1),
    ]


def test_their_number_is_bounded_and_the_whole_life_stays() -> None:
    """Tasks' nearest marks become one; of the other kinds the last stay; no task is left uncounted."""
    marks = Marks()
    for number in range(1, 501):
        marks.fold(drifted(number * 10, f"t{number}"), 100.0 * number)
        marks.add("restart", 100.0 * number, "started again")
    kinds = [mark.kind for mark in marks.all()]
    assert kinds.count("tasks") == kinds.count("restart") == MOST
    of_tasks = [mark for mark in marks.all() if mark.kind == "tasks"]
    assert sum(mark.tasks for mark in of_tasks) == 500
    assert of_tasks[0].events == 10
    assert of_tasks[-1].events > 4000


def test_they_are_part_of_the_history() -> None:
    """Packed with it, and continued; a history of before has none."""
    history = History(Clock())
    history(drifted(3, "a", "b"))
    history.settle()
    kept = unpack(pack(history, {}))
    resumed = History(Clock())
    resumed.resume(kept.events, kept.time, kept.marks)
    assert resumed.view().marks == kept.view().marks == history.view().marks != ()
    resumed.marks.add("restart", 9.0, "started again")
    assert [mark.id for mark in resumed.marks.all()] == [1, 2]
    assert resumed.marks.all()[-1].events == 3
    without = History(Clock())
    without.resume(kept.events, kept.time)
    assert without.view().marks == ()


@pytest.mark.parametrize("damaged", [[[1, "tasks"]], [[1, "other", 0.0, 1, "w", 0, []]], [7]])
def test_damaged_marks_are_told(damaged: list[list[object]]) -> None:
    """As a damaged history is: it begins anew, and stops nobody."""
    with pytest.raises(ValueError, match="marks"):
        Marks().resume(damaged, 0)
