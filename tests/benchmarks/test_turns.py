"""Time by turns, and what is told of it."""

import pytest

from streammeta.benchmarks.turns import Rounds, against, block, turns
from streammeta.benchmarks.watch import Watch, costs


def test_contenders_take_turns_and_the_first_round_does_not_count() -> None:
    """Round after round, each once; figures of the rounds that count, in their order."""
    said: list[str] = []
    figures = iter([9.0, 9.0, 1.0, 10.0, 2.0, 40.0, 3.0, 90.0])

    def measure(name: str) -> float:
        said.append(name)
        return next(figures)

    measured = turns({"a": lambda: measure("a"), "b": lambda: measure("b")}, 3)
    assert said == ["a", "b"] * 4
    assert measured["a"].figures == (1.0, 2.0, 3.0)
    assert measured["b"].over(measured["a"]).figures == (10.0, 20.0, 30.0)


def test_a_row_tells_median_and_middle_half() -> None:
    """Of five rounds the third, and the second to the fourth; of one round no spread."""
    row = Rounds((5.0, 1.0, 2.0, 100.0, 3.0)).row("a", "µs", 10.0, "noted")
    assert row == ("a", 30.0, "µs", (20.0, 50.0), 5, "noted")
    assert Rounds((5.0,)).row("a", "s").spread is None


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that was ten times slower in one round leaves the ratio alone."""
    ratio = against({"ours": Rounds((1.0, 10.0, 1.0)), "other": Rounds((3.0, 30.0, 3.0))}, "ours")[-1]
    assert ratio == ("other / ours", 3.0, "ratio", (3.0, 3.0), 3, "")


def test_a_block_takes_every_event_once() -> None:
    """Numbers 0 and up, in the strides of a call; what it gives is seconds an event."""
    numbers: list[int] = []
    assert block(numbers.append, 12, 4)() > 0
    assert numbers == [0, 4, 8]


def test_a_watched_function_is_charged_without_what_it_calls() -> None:
    """Each second once: an outer function's time is its own; calls, and calls from within, are counted."""
    now = [0.0]

    class Work:
        def outer(self) -> str:
            now[0] += 1.0
            self.inner()
            self.inner()
            now[0] += 2.0
            return "given back"

        def inner(self) -> None:
            now[0] += 10.0

    watch = Watch(lambda: now[0])
    watch.put("outer", [(Work, "outer")])
    watch.put("inner", [(Work, "inner")])
    begun, _ = watch.note()
    assert Work().outer() == "given back"
    tallies, root = watch.note()
    outer, inner = (tallies[name].since(begun[name]) for name in ("outer", "inner"))
    assert (outer.seconds, outer.calls, outer.within) == (3.0, 1, 2)
    assert (inner.seconds, inner.calls, inner.within) == (20.0, 2, 0)
    assert root.within == 1


def test_a_watched_function_that_raises_is_charged_too() -> None:
    """And the one that called it goes on being charged."""
    now = [0.0]

    def fails() -> None:
        now[0] += 5.0
        raise KeyError

    watch = Watch(lambda: now[0])
    failing = watch.timed("fails", fails)

    def calls() -> None:
        with pytest.raises(KeyError):
            failing()
        now[0] += 1.0

    watch.timed("calls", calls)()
    assert {name: tally.seconds for name, tally in watch.note()[0].items()} == {"fails": 5.0, "calls": 1.0}


def test_watching_costs_something_and_not_much() -> None:
    """Seconds a call, to the function and to its caller; a thousandth would be a mistake."""
    own, caller = costs()
    assert 0 < own < 1e-3
    assert 0 <= caller < 1e-3
