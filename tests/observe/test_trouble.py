"""What the banner says: each trouble staged in outcomes, and what looks like it but is none."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from streammeta.errors import Reason
from streammeta.evaluation.prequential import Fading, Prequential
from streammeta.observe.finding import Case, Trouble
from streammeta.observe.history import History
from streammeta.observe.status import Status
from streammeta.observe.trouble import diagnose
from streammeta.outcomes import Duplicate, Expired, Outcome, Skipped
from streammeta.state.quarantine import Held
from tests.observe.outcomes import Clock, checkpointed, learned, refused, turned


class Stage:
    """A daemon's observers, and seconds that pass one by one."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.history = History(self.clock)
        self.status = Status(
            topic="t",
            algorithm="moml",
            version="1",
            torch_version="2",
            clock=self.clock,
            started_at_seconds=self.clock(),
        )
        self.events = 0

    def tell(self, *outcomes: Outcome) -> None:
        """To both observers."""
        for outcome in outcomes:
            self.status(outcome)
            self.history(outcome)

    def learn(self, count: int, loss: float = 1.0) -> None:
        """Events whose fading losses are `loss`."""
        means = Prequential(*(Fading(loss, 1.0),) * 4)
        for _ in range(count):
            self.events += 1
            self.tell(learned(events=self.events, prequential=means))

    def second(self, *, events: int = 5, loss: float = 1.0, lag: int = 0, connected: bool = True) -> None:
        """One second of a daemon's life."""
        self.clock.seconds += 1.0
        self.learn(events, loss)
        self.tell(turned(connected=connected, lag=[lag] if connected else []))

    def minutes(self, count: float, second: Callable[[int], None] | None = None) -> None:
        """Many of them; by default healthy ones."""
        for number in range(int(count * 60)):
            (second or (lambda _: self.second()))(number)

    def found(self) -> list[Trouble]:
        """What is wrong now."""
        return diagnose(Case(self.status.snapshot(), self.history.view(), self.clock(), 5.0))

    def codes(self) -> list[str]:
        """The same in short."""
        return [trouble.code for trouble in self.found()]


@pytest.fixture
def stage() -> Stage:
    """A healthy beginning."""
    stage = Stage()
    stage.tell(turned(lag=[0]))
    return stage


def test_nothing_is_wrong_with_a_healthy_daemon(stage: Stage) -> None:
    """Learning, idle, restoring, and stopped; a checkpoint each second."""

    def second(number: int) -> None:
        stage.second(events=number % 3, lag=number % 7)
        stage.tell(checkpointed(at=stage.clock()))
        assert stage.codes() == []

    stage.minutes(6, second)
    stage.minutes(4, lambda _: stage.second(events=0))
    assert stage.codes() == []
    stage.tell(turned(connected=False))
    stage.status.stop()
    assert stage.codes() == []


def test_no_broker_is_told_at_once_and_with_its_duration(stage: Stage) -> None:
    """From the first turn without a broker on, and no longer once it is back."""
    stage.minutes(1)
    stage.tell(turned(connected=False))
    assert stage.codes() == ["no_broker"]
    stage.minutes(0.7, lambda _: stage.second(events=0, connected=False))
    (trouble,) = stage.found()
    assert trouble.level == "error"
    assert trouble.text == "No broker has answered for 42 s"
    assert "kafka.bootstrap_servers" in trouble.remedy
    stage.second()
    assert stage.codes() == []


@pytest.mark.parametrize(
    ("known", "code", "words"),
    [
        ({"service": "refused", "cause": "wrong password"}, "refused", "refuses this client: wrong password"),
        ({"service": "throttled", "cause": "a quota"}, "throttled", "A quota of the broker slows"),
        ({"blocked": {3: 970.0}}, "transaction_open", "Partition 3 waits behind an open transaction since"),
        ({"leaderless": frozenset({1, 2})}, "leaderless", "No leader answers for partition 1, 2"),
    ],
)
def test_what_keeps_records_from_coming(stage: Stage, known: dict[str, Any], code: str, words: str) -> None:
    """Told at once, in words; a growing lag then is no fault of the learner, and no stall."""

    def second(number: int) -> None:
        stage.clock.seconds += 1.0
        stage.tell(turned(lag=[1000 + 40 * number], **known))

    stage.minutes(2, second)
    assert stage.codes() == [code]
    assert words in stage.found()[0].text


def test_a_broker_that_was_never_reached() -> None:
    """Told after some seconds: connecting takes a moment."""
    stage = Stage()
    assert stage.codes() == []
    stage.clock.seconds += 11
    (trouble,) = stage.found()
    assert (trouble.code, trouble.text) == ("no_broker", "The broker was not reached yet, after 11 s")


def test_stalled_with_records_waiting(stage: Stage) -> None:
    """30 s without an event although some wait; an idle topic, or dead letters alone, are no stall."""
    stage.minutes(1)
    stage.minutes(0.45, lambda _: stage.second(events=0, lag=7))
    assert stage.codes() == []
    stage.minutes(0.1, lambda _: stage.second(events=0, lag=7))
    assert stage.codes() == ["stalled"]
    stage.tell(refused(Reason.BAD_TENSOR))
    stage.second(events=0, lag=7)
    assert stage.codes() == ["dead_letters"]


@pytest.mark.parametrize("outcome", [Skipped("t", 0, 1), Duplicate("t", 0, 1), refused(Reason.BAD_TENSOR)])
def test_records_that_are_only_read_are_no_stall(outcome: Outcome, stage: Stage) -> None:
    """Examples that wait for an episode, duplicates, dead letters: the daemon works, and keeps up."""

    def second(number: int) -> None:
        stage.tell(*[outcome] * 40)
        stage.second(events=0, lag=7 + number // 3)

    stage.minutes(3, second)
    assert {"stalled", "lag_growing"}.isdisjoint(stage.codes())


def test_halves_that_were_dropped(stage: Stage) -> None:
    """Told for 5 minutes; tasks that expire do so because the settings say it."""
    stage.minutes(1)
    stage.tell(Expired("t", tasks=4, halves=0))
    stage.second()
    assert stage.codes() == []
    stage.tell(Expired("t", tasks=0, halves=3), Expired("t", tasks=1, halves=2))
    stage.second()
    (trouble,) = stage.found()
    assert (trouble.code, trouble.level) == ("unmatched", "warning")
    assert trouble.text.startswith("5 inputs or labels were dropped in the last 5 minutes")
    assert "events.label_wait_events" in trouble.remedy
    stage.minutes(5.1)
    assert stage.codes() == []


def test_a_loop_that_does_not_turn(stage: Stage) -> None:
    """No row of history for half a minute: it hangs in an event or on the disk."""
    stage.minutes(1)
    stage.clock.seconds += 31
    (trouble,) = stage.found()
    assert (trouble.code, trouble.level) == ("stalled", "error")
    assert "no sign for 31 s" in trouble.text


@pytest.mark.parametrize(
    ("lag_at", "growing"),
    [
        (lambda s: 1000 + 40 * s, True),
        (lambda s: 100_000 - 40 * s, False),
        (lambda _: 50_000, False),
        (lambda s: s % 9, False),
        (lambda s: 8 if s < 60 else 9, False),
    ],
    ids=["grows", "falls", "stands", "wobbles", "hardly"],
)
def test_lag_growing(stage: Stage, lag_at: Callable[[int], int], growing: bool) -> None:
    """Over half a minute, and by more than what is learned in two seconds."""
    stage.minutes(2, lambda s: stage.second(lag=lag_at(s)))
    assert stage.codes() == (["lag_growing"] if growing else [])
    if growing:
        (trouble,) = stage.found()
        assert trouble.level == "warning"
        assert "5,720 records behind, 40 more each second" in trouble.text


@pytest.mark.parametrize(
    ("loss_at", "rising"),
    [
        (lambda s: 4.0 if s < 60 else 1.0 if s < 200 else 2.5, True),
        (lambda s: 4.0 - s / 100, False),
        (lambda s: 4.0 if s < 60 else 1.0 if s < 200 else 1.5, False),
        (lambda s: 4.0 if s < 60 else 0.001 if s < 200 else 0.01, False),
    ],
    ids=["rises", "falls", "wobbles", "is small all the same"],
)
def test_loss_rising(stage: Stage, loss_at: Callable[[int], float], rising: bool) -> None:
    """Twice its best, for half a minute, and not small in itself."""
    stage.minutes(5, lambda s: stage.second(loss=loss_at(s)))
    assert stage.codes() == (["loss_rising"] if rising else [])
    if rising:
        assert "2.5 times its best (2.5, once 1)" in stage.found()[0].text
        assert "SIGHUP" in stage.found()[0].remedy


@pytest.mark.parametrize(
    ("before", "after", "worse", "told"),
    [
        (4.0, 41.0, 5, True),
        (4.0, math.inf, 5, True),
        (4.0, 41.0, 4, False),
        (4.0, 39.0, 100, False),
        (1e-6, 1e-3, 100, False),
    ],
    ids=["explodes", "overflows", "rarely", "not by that much", "from next to nothing"],
)
def test_adaptation_that_makes_the_loss_worse(
    stage: Stage, before: float, after: float, worse: int, told: bool
) -> None:
    """Ten times the loss before, and above the mean, in 5 of the last 100 events; told for 5 minutes."""
    means = Prequential(*(Fading(1.0, 1.0),) * 4)
    for number in range(100):
        adapted = after if number < worse else 0.5 * before
        stage.tell(learned(loss_meta=before, loss_adapted=adapted, prequential=means, events=number + 1))
    stage.second(events=0)
    assert stage.codes() == (["adaptation_worse"] if told else [])
    if told:
        (trouble,) = stage.found()
        assert trouble.text.endswith("times that before in 5 of the last 100 events")
        assert "algorithm.inner_lr" in trouble.remedy
        assert "algorithm.inner_clip_norm" in trouble.remedy
    stage.learn(100)
    stage.second(events=0)
    assert stage.codes() == []


def test_numbers_that_are_not_finite(stage: Stage) -> None:
    """Updates are an error, inputs a warning; both are told for 5 minutes."""
    stage.minutes(1)
    stage.tell(refused(Reason.NON_FINITE_INPUT), refused(Reason.NON_FINITE_UPDATE))
    stage.second()
    first, second = stage.found()
    assert (first.code, first.level) == ("non_finite", "error")
    assert first.text.startswith("1 event would have made the state NaN or infinite")
    assert (second.code, second.level) == ("non_finite", "warning")
    stage.minutes(5.1)
    assert stage.codes() == []


def test_dead_letters_name_the_commonest_reason(stage: Stage) -> None:
    """The count of the last minutes, and where to look."""
    stage.minutes(1)
    stage.tell(*[refused(Reason.SHAPE_MISMATCH)] * 3, refused(Reason.TOO_LARGE))
    stage.second()
    (trouble,) = stage.found()
    assert (trouble.code, trouble.level) == ("dead_letters", "warning")
    assert trouble.text == "4 records could not be used in the last 5 minutes, mostly shape_mismatch"


def test_a_stale_checkpoint(stage: Stage) -> None:
    """A minute old with events since; without events there is nothing to write."""
    stage.minutes(1)
    stage.tell(checkpointed(at=stage.clock()))
    stage.minutes(2, lambda _: stage.second(events=0))
    assert stage.codes() == []
    stage.second(events=3)
    (trouble,) = stage.found()
    assert (trouble.code, trouble.level) == ("checkpoint_stale", "error")
    stage.tell(checkpointed(at=stage.clock()))
    assert stage.codes() == []


def test_the_gravest_comes_first(stage: Stage) -> None:
    """Errors before warnings."""
    stage.minutes(1)
    stage.tell(refused(Reason.TOO_LARGE))
    stage.second(connected=False)
    assert stage.codes() == ["no_broker", "dead_letters"]


def test_tasks_in_quarantine() -> None:
    """Told for as long as there are any, with the commands that show and release them."""
    stage = Stage()
    stage.minutes(1)
    assert not [trouble for trouble in stage.found() if trouble.code == "quarantined"]
    stage.tell(replace(checkpointed(), quarantined=dict.fromkeys("ab", Held(3, 9.0))))
    (trouble,) = [trouble for trouble in stage.found() if trouble.code == "quarantined"]
    assert "2 tasks are in quarantine" in trouble.text
    for command in ("tasks list", "tasks release", "dlq replay --reason quarantined"):
        assert command in trouble.remedy
