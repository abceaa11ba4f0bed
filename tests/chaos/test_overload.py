"""Lag and memory under twice the daemon's rate: the short form, and that the judgement can fail."""

from pathlib import Path

import pytest

from tests.brokers.broker import Broker
from tests.chaos.overload import GROWTH_BYTES, SLACK_RECORDS, Moment, judge, overload

RATE = 100.0
TRUE = [Moment(float(at), 200 * at, 100 * at, 100 * at, 10**8) for at in range(60)]


def test_a_lag_that_is_true_is_let_pass() -> None:
    """Also where some answers lack it."""
    judge([moment._replace(shown=None) if moment.at % 10 == 0 else moment for moment in TRUE], RATE)


@pytest.mark.parametrize("wrong", [SLACK_RECORDS + 700, -SLACK_RECORDS - 1200])
def test_a_lag_that_is_not_is_told(wrong: int) -> None:
    """Once is enough."""
    moments = [one._replace(shown=4_000 + wrong) if one.at == 40 else one for one in TRUE]
    with pytest.raises(AssertionError, match="Moment"):
        judge(moments, RATE)


def test_a_lag_that_is_hardly_told_is_told() -> None:
    """Absent is not true."""
    with pytest.raises(AssertionError, match="lag was told 12 times of 60"):
        judge([moment._replace(shown=None) if moment.at % 5 else moment for moment in TRUE], RATE)


def test_memory_that_grows_is_told() -> None:
    """With what waits."""
    grown = [moment._replace(rss_bytes=10**8 + int(moment.at) * GROWTH_BYTES // 30) for moment in TRUE]
    with pytest.raises(AssertionError, match="RAM grew"):
        judge(grown, RATE)


@pytest.mark.kafka
@pytest.mark.slow
def test_twice_the_rate_for_some_seconds(kafka_broker: Broker, tmp_path: Path) -> None:
    """Against Apache Kafka: behind at the end, lag true within 5 s all the time, 0 when it has caught up."""
    figures = overload(kafka_broker, tmp_path, 8.0)
    assert figures["behind"] > 0
