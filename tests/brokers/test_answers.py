"""Answers on a broker: acknowledged in order, made a topic for, given up where none can hold them."""

import json
import os
from contextlib import closing
from typing import Any

import numpy as np
import pytest
import structlog
from kafka import errors

from streammeta.codec import SOURCE, answer_to
from streammeta.errors import AnswerFailed, BrokerRefused, Reason
from streammeta.events import Question, Record
from streammeta.stream.kafka import answers as module
from streammeta.stream.kafka.answers import KafkaAnswers
from tests.brokers.broker import ApacheKafka, Broker, Settings, eventually, fresh
from tests.brokers.test_dead_letters import records_of

BROKERS = ["tansu", pytest.param("kafka_broker", marks=pytest.mark.kafka)]


def asked(topic: str, offset: int) -> Record:
    """A record that asks."""
    return Record(topic, 0, offset, 0, b"task-1", b'{"id": %d, "x": [[1.0]]}' % offset)


def answer(topic: str, offset: int, numbers: int = 1) -> tuple[Record, Record]:
    """Its answer, and the record itself."""
    record = asked(topic, offset)
    question = Question("task-1", np.ones((1, 1)), name=offset)
    return answer_to(record, question, np.ones((1, numbers)), "meta", events=offset, task_events=0), record


def said(found: list[Any]) -> list[tuple[bytes, int, str]]:
    """Key, id and source of what the output topic holds."""
    return [(one.key, json.loads(one.value)["id"], dict(one.headers)[SOURCE].decode()) for one in found]


@pytest.mark.parametrize("broker", BROKERS)
def test_in_order_into_a_topic_that_is_made(broker: str, request: pytest.FixtureRequest) -> None:
    """With as many partitions as the source topic has; the answers of a task in one of them, in order."""
    real: Broker = request.getfixturevalue(broker)
    topic, output = real.create(fresh("tasks"), 2), fresh("answers")
    with closing(KafkaAnswers(real.settings(topic=topic), output)) as answers:
        for offset in range(20):
            answers.send(*answer(topic, offset))
        assert answers.flush() == []
        assert not answers.crowded
    found = records_of(real, output, 20)
    assert said(found) == [(b"task-1", offset, f"{topic}/0/{offset}") for offset in range(20)]
    assert len(real.admin.describe_topics([output])[0]["partitions"]) == 2


def test_an_answer_that_is_too_large_is_given_up(tansu: Broker) -> None:
    """The record that asked comes back with the reason; those before and behind it are answered."""
    topic, output = tansu.create(fresh("tasks")), fresh("answers")
    setting = tansu.settings(topic=topic, client={"max_request_size": 4000})
    with closing(KafkaAnswers(setting, output)) as answers:
        for offset in range(4):
            answers.send(*answer(topic, offset, numbers=5000 if offset == 2 else 1))
        ((record, refusal),) = answers.flush()
        assert answers.flush() == []
    assert (record.offset, refusal.reason, refusal.stage) == (2, Reason.TOO_LARGE, "predict")
    assert output in str(refusal)
    seen = [number for _, number, _ in said(records_of(tansu, output, 3))]
    assert [*dict.fromkeys(seen)] == [0, 1, 3]  # this broker shows what was aborted too


@pytest.mark.kafka
def test_an_answer_that_the_topic_refuses_is_given_up(kafka_broker: Broker) -> None:
    """The broker's own limit, met in a batch with others."""
    topic = kafka_broker.create(fresh("tasks"))
    output = kafka_broker.create(fresh("answers"), max_message_bytes="2000")
    with closing(KafkaAnswers(kafka_broker.settings(topic=topic), output)) as answers:
        for offset in range(4):
            answer_record, record = answer(topic, offset)
            if offset == 1:  # what zstd cannot make small
                answer_record = answer_record._replace(value=os.urandom(3000))
            answers.send(answer_record, record)
        given_up = answers.flush()
    assert [(record.offset, refusal.reason) for record, refusal in given_up] == [(1, Reason.TOO_LARGE)]
    assert sorted(number for _, number, _ in said(records_of(kafka_broker, output, 3))) == [0, 2, 3]


def test_a_producer_beyond_repair_is_replaced(tansu: Broker) -> None:
    """What was not acknowledged is sent again, in order."""
    topic, output = tansu.create(fresh("tasks")), fresh("answers")
    with closing(KafkaAnswers(tansu.settings(topic=topic), output)) as answers:
        broken = answers._producer
        answers.send(*answer(topic, 0))
        answers.flush()
        broken._transaction_manager.transition_to_fatal_error(errors.InvalidProducerEpochError("fenced"))
        for offset in (1, 2):
            answers.send(*answer(topic, offset))
        answers.flush()
        assert answers._producer is not broken
    assert [number for _, number, _ in said(records_of(tansu, output, 3))] == [0, 1, 2]


def test_what_cannot_be_begun_keeps_its_place(tansu: Broker) -> None:
    """Behind an answer that could not be begun the others wait too, and a stop says how many."""
    topic, output, going = tansu.create(fresh("tasks")), fresh("answers"), [True]
    with (
        closing(KafkaAnswers(tansu.settings(topic=topic), output, keep_going=lambda: going[0])) as answers,
        structlog.testing.capture_logs(),
    ):
        send, calls = answers._producer.send, list[int]()

        def timed_out(*_arguments: Any, **_options: Any) -> Any:
            calls.append(1)
            raise errors.KafkaTimeoutError("no metadata")

        answers._producer.send = timed_out
        for offset in range(3):
            answers.send(*answer(topic, offset))
        assert len(calls) == 1
        going[0] = False
        with pytest.raises(AnswerFailed, match="stopped before 3 answers"):
            answers.flush()
        going[0], answers._producer.send = True, send
        assert answers.flush() == []
    assert [number for _, number, _ in said(records_of(tansu, output, 3))] == [0, 1, 2]


def test_many_unacknowledged_answers_are_a_crowd(tansu: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told before they fill the memory; those that were acknowledged meanwhile do not count."""
    monkeypatch.setattr(module, "WINDOW", 3)
    topic, output = tansu.create(fresh("tasks")), fresh("answers")
    with closing(KafkaAnswers(tansu.settings(topic=topic), output)) as answers:
        for offset in range(3):
            answers.send(*answer(topic, offset))
        eventually(lambda: not answers.crowded)
        send, answers._producer.send = answers._producer.send, _silent
        for offset in range(3, 6):
            answers.send(*answer(topic, offset))
        assert answers.crowded
        answers._producer.send = send
        answers.flush()
        assert not answers.crowded


def _silent(*_arguments: Any, **_options: Any) -> Any:
    raise errors.KafkaTimeoutError("no metadata")


@pytest.mark.kafka
def test_a_right_revoked_while_running(secure_kafka_broker: ApacheKafka) -> None:
    """Exit 77, and the right is named; the same at the start."""
    kafka = secure_kafka_broker
    topic, output = kafka.broker.create(fresh("tasks")), kafka.broker.create(fresh("answers"))
    setting = Settings(kafka.facts["SASL_PLAINTEXT"], topic=topic, client=kafka.login())
    kafka.grant("TOPIC", output, "WRITE", "DESCRIBE")

    def opened() -> KafkaAnswers | None:
        try:
            return KafkaAnswers(setting, output)
        except BrokerRefused as error:
            assert error.exit_code == 77  # noqa: PT017 (the right may take a moment to arrive)
            return None

    answers = eventually(opened)
    kafka.revoke("TOPIC", output, "WRITE")

    def refused() -> bool:
        answers.send(*answer(topic, 0))
        answers.flush()
        return False

    with pytest.raises(BrokerRefused, match=f"--operation Write --topic {output}"):
        eventually(refused)
    answers.close()
