"""The stream without a broker follows the protocol of sources, on a clock that the test moves."""

from collections.abc import Iterator

import pytest

from streammeta.errors import BadEvent, Reason
from streammeta.events import Record, Run
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.generated import GeneratedSource, NoDeadLetters


def record(number: int) -> Record:
    """The record at an offset."""
    return Record("t", 0, number, number, b"k", str(number).encode())


def records_from(offset: int) -> Iterator[Record]:
    """All records from an offset on."""
    while True:
        yield record(offset)
        offset += 1


class Time:
    """Seconds that pass while someone sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0
        self.slept: list[float] = []

    def now(self) -> float:
        """The time."""
        return self.seconds

    def sleep(self, seconds: float) -> None:
        """Time passes; a real sleep refuses negative seconds."""
        assert seconds >= 0
        self.slept.append(seconds)
        self.seconds += seconds


@pytest.fixture
def time() -> Time:
    """A clock of this test alone."""
    return Time()


@pytest.fixture
def source(time: Time) -> GeneratedSource:
    """Eight records a second (an exact binary fraction)."""
    return GeneratedSource(records_from, 8.0, monotonic=time.now, sleep=time.sleep)


def offsets(source: Source, polls: int, timeout_seconds: float = 0.5) -> list[int]:
    """The offsets that so many polls give."""
    return [r.offset for _ in range(polls) for r in source.poll(timeout_seconds)]


def test_records_come_when_due(source: GeneratedSource, time: Time) -> None:
    """One every eighth of a second, in order, each as it was made; a poll waits for the next one."""
    assert source.start({}) == {0: 0}
    got = [r for _ in range(20) for r in source.poll(1.0)]
    assert got == [record(n) for n in range(20)]
    assert time.slept == [0.125] * 20


def test_a_poll_waits_no_longer_than_it_may(source: GeneratedSource, time: Time) -> None:
    """Nothing due within the time-out: nothing comes."""
    source.start({})
    assert source.poll(0.05) == []
    assert time.slept == [0.05]
    assert source.positions() == {0: 0}


def test_what_is_due_comes_at_once_in_bounded_polls(source: GeneratedSource, time: Time) -> None:
    """After a pause the backlog is caught up, at most some hundreds a poll."""
    source.start({})
    time.seconds += 32
    assert (source.ends(), source.lag(source.positions()), source.positions()) == ({0: 256}, {0: 256}, {0: 0})
    sizes = [len(source.poll(0.5)) for _ in range(3)]
    assert (sum(sizes), time.slept) == (256, [])
    assert max(sizes) <= 500
    assert (source.lag(source.positions()), source.positions()) == ({0: 0}, {0: 256})


def test_it_starts_where_the_state_says(source: GeneratedSource) -> None:
    """A restart goes on with the very next record; the rate counts from there."""
    assert source.start({0: 41}) == {0: 41}
    assert source.ends() == {0: 41}
    assert offsets(source, 3) == [41, 42, 43]
    assert source.start({0: 7}) == {0: 7}
    assert offsets(source, 2) == [7, 8]


def test_fetch_gives_a_run_again_and_goes_on_behind_it(source: GeneratedSource, time: Time) -> None:
    """The same records; afterwards the source stands at the run's end."""
    source.start({})
    time.seconds += 4
    first = list(source.poll(0.5))
    assert source.fetch(Run(0, 3, 9)) == first[3:9]
    assert source.positions() == {0: 9}
    assert offsets(source, 1)[:2] == [9, 10]


def test_after_a_crash_the_logged_runs_may_be_ahead_of_the_clock(source: GeneratedSource) -> None:
    """A new process fetches at once what took seconds to come due; polls then wait until it is due again."""
    source.start({0: 0})
    assert len(source.fetch(Run(0, 0, 20))) == 20
    assert source.lag(source.positions()) == {0: 0}
    assert offsets(source, 10, timeout_seconds=0.25) == []
    assert offsets(source, 4, timeout_seconds=0.25) == [20, 21, 22, 23]


def test_it_is_a_source_like_others(source: GeneratedSource) -> None:
    """Always connected; closing and committing may be called at any time, and twice."""
    typed: Source = source
    typed.start({})
    typed.committed({0: 3})
    typed.close()
    typed.close()
    assert typed.condition({}).serving


def test_dead_letters_are_let_go() -> None:
    """Nothing is written, nothing fails: the records can be made again."""
    letters: DeadLetters = NoDeadLetters()
    letters.send(record(0), BadEvent(Reason.TOO_LARGE, "too large"))
    letters.flush()
    letters.close()
    letters.close()
