"""What a broker says that its log holds, and does not give: found in its answers, in virtual time."""

from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

from streammeta.errors import Reason
from streammeta.stream.kafka.withheld import ANSWERS, NEXT_SECONDS, PATIENCE_SECONDS, Withheld
from tests.stream.batches import batch

PLACE = TopicPartition("t", 0)
CORRUPT, AWAY = 2, 6
STEP_SECONDS = 0.25


class Consumer:
    """A consumer whose fetches are answered by the test."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.parsed: list[Any] = []
        self._fetcher = SimpleNamespace(_parse_fetched_data=self.parsed.append)
        self.withheld = Withheld(self, lambda: self.seconds)

    def answer(
        self,
        offset: int,
        records: bytes = b"",
        error: int = 0,
        end: int = 9,
        stable: int = 9,
        times: int = ANSWERS + 1,
    ) -> Any:
        """Enough answers for the partition, all alike."""
        data = SimpleNamespace(
            error_code=error, records=records, high_watermark=end, last_stable_offset=stable
        )
        fetched = SimpleNamespace(
            topic_partition=PLACE, fetched_offset=offset, response_version=12, partition_data=data
        )
        for _ in range(times):
            self._fetcher._parse_fetched_data(fetched)
        return data

    def answers_for(self, seconds: float, offset: int) -> None:
        """Nothing, over and over."""
        for _ in range(int(seconds / STEP_SECONDS)):
            self.seconds += STEP_SECONDS
            self.answer(offset, times=1)

    def offsets(self, position: int) -> list[int]:
        """What is given up there."""
        return [record.offset for record in self.withheld.due({PLACE: position})]


@pytest.fixture
def consumer() -> Consumer:
    """One that has asked for nothing."""
    return Consumer()


def test_what_the_broker_calls_corrupt_is_given_up_at_once(consumer: Consumer) -> None:
    """With a word that says so, once, and not at another position."""
    consumer.answer(5, error=CORRUPT)
    assert consumer.offsets(4) == []
    (record,) = consumer.withheld.due({PLACE: 5})
    assert record.flaw is not None
    assert (record.partition, record.offset, record.value) == (0, 5, None)
    assert (record.flaw.reason, record.flaw.end, record.flaw.damaged) == (Reason.UNDECODABLE, 6, True)
    assert "the broker says that its log is corrupt there" in record.flaw.message
    assert consumer.offsets(5) == []


def test_where_nothing_comes_it_is_given_up_after_a_while(consumer: Consumer) -> None:
    """Offset by offset, up to the end; each on its own position, those that follow sooner."""
    consumer.answers_for(PATIENCE_SECONDS, 7)
    assert consumer.offsets(7) == []
    consumer.answers_for(STEP_SECONDS, 7)
    assert consumer.offsets(7) == [7]
    assert consumer.offsets(8) == []
    consumer.answer(8)
    assert consumer.offsets(8) == []
    consumer.answers_for(NEXT_SECONDS + STEP_SECONDS, 8)
    assert consumer.offsets(8) == [8]
    assert not consumer.withheld


def test_a_broker_that_hangs_withholds_nothing(consumer: Consumer) -> None:
    """Nor does one that is no leader there: only answers of that place count as time."""
    consumer.answer(7)
    consumer.seconds = 10 * PATIENCE_SECONDS
    consumer.answer(7, error=AWAY)
    assert consumer.offsets(7) == []
    consumer.answers_for(PATIENCE_SECONDS / 2, 7)
    assert consumer.offsets(7) == []
    consumer.answers_for(PATIENCE_SECONDS / 2, 7)
    assert consumer.offsets(7) == [7]


@pytest.mark.parametrize(
    ("offset", "end", "stable"), [(9, 9, 9), (7, 9, 7), (9, 9, -1)], ids=["end", "transaction", "uncommitted"]
)
def test_where_nothing_is_nothing_is_withheld(consumer: Consumer, offset: int, end: int, stable: int) -> None:
    """At the end, and behind an open transaction."""
    consumer.answer(offset, end=end, stable=stable)
    assert not consumer.withheld


def test_what_comes_late_was_not_withheld(consumer: Consumer) -> None:
    """Nor does an answer without a leader count."""
    consumer.answer(7)
    consumer.answer(7, error=AWAY)
    assert consumer.withheld
    consumer.answer(7, bytes(batch([b"v"], offset=7)))
    assert not consumer.withheld


def test_a_batch_longer_than_what_is_sent_of_it(consumer: Consumer) -> None:
    """A broker sends at least the first one whole: kafka-python, which would end, is shown nothing."""
    cut = bytes(batch([b"v"], offset=7))[:-1]
    shown = [consumer.answer(7, cut, times=1).records for _ in range(ANSWERS + 1)]
    assert shown == [b""] * len(consumer.parsed)
    assert consumer.offsets(7) == [7]
