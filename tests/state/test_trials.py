"""Marks of what is tried: what two processes in a row died of is condemned, and nothing else."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from streammeta.events import Cut, Passed, Record, Run
from streammeta.state.order_log import OrderLog
from streammeta.state.trials import WATCHES, Trials, watches_left

R, S, T = (
    Record("t", partition, offset, 0, b"k", b"v")
    for partition, offset in ((0, 5), (1, 5), (2**31 - 1, 2**62))
)


def life(path: Path, *steps: Callable[[Trials], object]) -> tuple[Passed, ...]:
    """A process that does these steps and dies; what it found condemned when it began."""
    trials = Trials(path)  # not closed: a killed process closes nothing
    found = trials.condemned
    trials.begin_life()
    for step in steps:
        step(trials)
    return found


def learn(*records: Record) -> Callable[[Trials], object]:
    """Begin to learn these together."""
    return lambda trials: trials.learning(records)


def decode(record: Record) -> Callable[[Trials], object]:
    """Begin to decode this."""
    return lambda trials: trials.decoding(record)


def over(trials: Trials) -> None:
    """It went well."""
    trials.over()


@pytest.mark.parametrize("record", [R, S, T])
def test_the_third_life_condemns(record: Record, tmp_path: Path) -> None:
    """Once: what is condemned is passed, and suspect no more."""
    path = tmp_path / "trials"
    assert life(path, learn(S), over, learn(record)) == ()
    assert life(path, learn(record)) == ()
    assert life(path, learn(R), over) == (Passed(record.partition, record.offset, stage="step", died=True),)
    assert life(path) == ()


def test_what_was_tried_of_another_log_is_forgotten(tmp_path: Path) -> None:
    """Another topic has other records at these places: deaths in the old one count for nothing."""
    path = tmp_path / "trials"
    for deaths in (1, 2):
        for _ in range(deaths):
            life(path, learn(R))
        began = Trials(path)
        began.forget()
        assert began.condemned == ()
        began.begin_life()
        assert not began.suspicious
        began.learning([R])
        assert Trials(path).condemned == ()
        life(path, over)


def test_a_stage_is_part_of_it(tmp_path: Path) -> None:
    """What died while it was decoded, and then while it was learned, was not at fault twice."""
    path = tmp_path / "trials"
    life(path, decode(R))
    life(path, learn(R))
    assert life(path, decode(R)) == ()
    assert Trials(path).condemned == ()
    life(path, decode(R))
    assert life(path) == (Passed(0, 5, stage="decode", died=True),)


@pytest.mark.parametrize(
    "between",
    [
        [[learn(S)]],
        [[learn(R), over]],
        [[learn(R), over, learn(S)], []],
        [[learn(R), over], [learn(S), over, learn(T)]],
    ],
)
def test_deaths_of_others_condemn_nothing(
    between: Sequence[Sequence[Callable[[Trials], object]]], tmp_path: Path
) -> None:
    """A trial that went well, or a death of another, ends the suspicion."""
    path = tmp_path / "trials"
    life(path, learn(R))
    for steps in between:
        assert life(path, *steps) == ()
    life(path, learn(R))
    assert life(path) == ()


def test_a_death_of_nothing_keeps_the_suspicion(tmp_path: Path) -> None:
    """Killed before it came to the record again: that is still one death."""
    path = tmp_path / "trials"
    life(path, learn(R))
    life(path)
    life(path, learn(S), over)
    life(path, learn(R))
    assert [passed.offset for passed in life(path)] == [5]


def test_iterations(tmp_path: Path) -> None:
    """Of one that killed, each record is tried alone; the one that kills again is condemned, alone."""
    path = tmp_path / "trials"
    life(path, learn(R, S, T))
    trials = Trials(path)
    trials.begin_life()
    assert [trials.suspects([one]) for one in (R, S, T, R._replace(offset=6))] == [True, True, True, False]
    trials.learning([R])
    trials.learning([S])
    assert [(one.partition, one.offset) for one in life(path)] == [(1, 5)]


def test_an_end_in_order_leaves_no_mark(tmp_path: Path) -> None:
    """Whatever was tried last."""
    path = tmp_path / "trials"
    for _ in range(3):
        with closing(Trials(path)) as trials:
            assert trials.condemned == ()
            trials.begin_life()
            trials.learning([R])
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_order_log_keeps_what_is_passed(tmp_path: Path) -> None:
    """Until the state contains it; it is no run, and closes none."""
    path = tmp_path / "order.log"
    passed = [Passed(0, 5, stage="step", died=True), Passed(3, 9, stage="decode", died=False)]
    with closing(OrderLog(path)) as log:
        log.append([Run(0, 0, 6), passed[0], Cut(), passed[1]])
    with closing(OrderLog(path)) as log:
        assert log.pending({}) == [Run(0, 0, 6), passed[0], Cut(), passed[1]]
        log.forget({0: 6})
        assert log.pending({}) == [passed[1]]
        log.forget({3: 10})
        assert log.pending({}) == []


def test_a_start_that_fails_keeps_the_marks(tmp_path: Path) -> None:
    """Broker away, disk full: such a process tried nothing, and must not make the one before forgotten."""
    path = tmp_path / "trials"
    for deaths in (1, 2):
        life(path, learn(R))
        with closing(Trials(path)) as trials:
            assert len(trials.condemned) == deaths - 1


def watched(path: Path, *steps: Callable[[Trials], object]) -> list[str]:
    """A process that another watches, and what it was told when all was well."""
    told = list[str]()
    trials = Trials(path, acquitted=lambda: told.append("well"))
    assert trials.condemned == ()
    trials.begin_life()
    for step in steps:
        step(trials)
    return told


@pytest.mark.parametrize("step", [learn(R), decode(R)])
def test_one_that_is_watched_tries_it_again(step: Callable[[Trials], object], tmp_path: Path) -> None:
    """It is told as soon as the record did no harm; where it dies, the next one condemns."""
    path = tmp_path / "trials"
    for _ in range(2):
        assert watches_left(path) == 0
        life(path, step)
    assert watches_left(path) == WATCHES
    assert watched(path, step) == []
    assert watches_left(path) == WATCHES - 1
    assert watched(path, step, over) == ["well"]
    assert watches_left(path) == 0
    assert life(path) == ()


def test_watching_ends(tmp_path: Path) -> None:
    """A kernel that ends both, watcher and watched, is believed after some times."""
    path = tmp_path / "trials"
    for _ in range(2):
        life(path, learn(R))
    for left in range(WATCHES, 0, -1):
        assert watches_left(path) == left
        watched(path, learn(R))
    assert watches_left(path) == 0
    assert [passed.offset for passed in life(path)] == [5]


def test_all_of_an_iteration_are_tried_before_it_is_well(tmp_path: Path) -> None:
    """One after the other; also where they are decoded first."""
    path = tmp_path / "trials"
    for _ in range(2):
        life(path, learn(R, S))
    assert watched(path, decode(R), over, learn(R), over) == []
    life(path, learn(R, S))
    assert watched(path, learn(R), over, learn(S), over) == ["well"]
