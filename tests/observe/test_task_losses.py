"""The worst tasks in bounded memory."""

import math

from hypothesis import given
from hypothesis import strategies as st

from streammeta.observe.catalogue import OTHER
from streammeta.observe.task_losses import TaskLosses

VISITS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.floats(0, 100)), max_size=60)


@given(VISITS)
def test_agrees_with_a_full_sort(visits: list[tuple[str, float]]) -> None:
    """While nothing is forgotten, the worst are those of a sort over the last loss of every task."""
    losses = TaskLosses(capacity=8, worst=3)
    for task, loss in visits:
        losses.fold(task, loss)
    shown = dict(losses.read())
    last = dict(visits)
    ranked = sorted(last.values(), reverse=True)
    assert sorted((shown[task] for task in shown if task != OTHER), reverse=True) == ranked[:3]
    assert all(last[task] == loss for task, loss in shown.items() if task != OTHER)
    if ranked[3:]:
        assert math.isclose(shown[OTHER], math.fsum(ranked[3:]) / len(ranked[3:]), abs_tol=1e-12)
    else:
        assert OTHER not in shown


def test_forgets_those_seen_longest_ago() -> None:
    """At capacity the oldest quarter goes, a task just seen stays."""
    losses = TaskLosses(capacity=100, worst=1000)
    for number in range(100):
        losses.fold(f"task-{number}", 1.0)
    losses.fold("task-0", 2.0)
    losses.fold("new", 3.0)
    shown = [task for task, _ in losses.read()]
    assert len(shown) == 75
    assert shown[:2] == ["new", "task-0"]
    assert "task-1" not in shown
    assert "task-99" in shown


def test_memory_is_bounded() -> None:
    """However many tasks come, never more than the capacity are remembered."""
    losses = TaskLosses(capacity=100, worst=1000)
    for number in range(5000):
        losses.fold(f"task-{number}", 1.0)
        assert number % 500 or len(list(losses.read())) <= 100


def test_a_task_called_other_shares_no_series() -> None:
    """A task with the name of the rest counts among the rest, were it the worst of all."""
    losses = TaskLosses(worst=1)
    for task, loss in ((OTHER, 9.0), ("a", 5.0), ("b", 1.0)):
        losses.fold(task, loss)
    assert list(losses.read()) == [("a", 5.0), (OTHER, 5.0)]


def test_an_unknown_loss_changes_nothing() -> None:
    """NaN neither hides a known loss nor shows up as one."""
    losses = TaskLosses()
    losses.fold("a", 5.0)
    losses.fold("a", math.nan)
    losses.fold("b", math.nan)
    assert list(losses.read()) == [("a", 5.0)]


def test_no_task_need_be_named() -> None:
    """Then there is the mean of all of them."""
    losses = TaskLosses(worst=0)
    losses.fold("customer-17", 1.0)
    losses.fold("customer-18", 2.0)
    assert dict(losses.read()) == {OTHER: 1.5}
