"""Records in transactions that also hold how far the sender came: a record and its place, both or none.

The place is an offset committed to the sender's own consumer group, on partition 0 of the topic; or there is
none, and the records themselves tell. A new sender of the same name ends what the last one left open.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors

from streammeta.errors import BrokerUnavailable, ConfigError, StreammetaError
from streammeta.events import Record
from streammeta.stream.kafka.access import KafkaSettings, client_config, connect, connected
from streammeta.stream.kafka.refusals import missing_right, named
from streammeta.stream.kafka.untouched import UNTOUCHED, Untouched, headers_of, send_untouched
from streammeta.stream.kafka.waits import QUESTION_SECONDS, close_producer, within

PATIENCE_SECONDS = 30.0
"""How long a transaction may take to be ended."""
_DEFAULTS = {
    "linger_ms": 5,
    "batch_size": 262_144,
    "max_request_size": (1 << 31) - 1,  # what the record format can hold; the broker knows its own limit
    "compression_type": "zstd",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where records go, and who sends them.

    Attributes:
        kafka: How to reach the broker.
        topic: The topic.
        sender: The name of group and transactions.
    """

    kafka: KafkaSettings
    topic: str
    sender: str


class Transactions:
    """A transactional producer, as a context manager; what is open when it is left is never seen.

    Attributes:
        open_rows, open_bytes: Sent since the last commit; bytes of keys and values.
    """

    def __init__(self, target: Target, keep_going: Callable[[], bool]) -> None:
        self._target, self._keep_going = target, keep_going
        self._producer: Any = None
        self.open_rows = self.open_bytes = 0

    def __enter__(self) -> Self:
        """Connect, and end what a former sender left open.

        Raises:
            BrokerUnavailable, BrokerRefused, ConfigError: each with its remedy.
        """
        fixed = {
            **UNTOUCHED,
            "acks": "all",
            "enable_idempotence": True,
            "transactional_id": self._target.sender,
            "transaction_timeout_ms": int(2 * PATIENCE_SECONDS * 1000),
        }
        config = client_config(KafkaProducer, self._target.kafka, _DEFAULTS, fixed)
        self._producer = connect(KafkaProducer, self._target.kafka, config, self._keep_going).client
        try:
            self._bounded(self._producer.init_transactions)
        except BaseException:
            close_producer(self._producer)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        close_producer(self._producer)

    def place(self) -> int:
        """How far senders of this name came; 0 at first."""
        fixed = {"group_id": self._target.sender, "enable_auto_commit": False}
        with connected(KafkaConsumer, self._target.kafka, self._keep_going, fixed) as consumer:
            try:
                place = TopicPartition(self._target.topic, 0)
                return int(consumer.committed(place, timeout_ms=int(QUESTION_SECONDS * 1000)) or 0)
            except errors.KafkaError as error:
                raise self._failure(error) from error

    def send(self, record: Record) -> None:
        """Send to the record's topic and partition, with its timestamp (negative: now).

        A refusal is raised by `commit`.
        """
        try:
            if not self.open_rows:
                self._producer.begin_transaction()
            send_untouched(
                self._producer,
                record.topic,
                Untouched(record.key, record.value, headers_of(record)),
                partition=record.partition,
                timestamp_ms=record.timestamp_ms if record.timestamp_ms >= 0 else None,
            )
        except errors.KafkaError as error:
            raise self._failure(error) from error
        self.open_rows += 1
        self.open_bytes += len(record.key or b"") + len(record.value or b"")

    def commit(self, place: int | None = None) -> None:
        """Make what was sent visible, and `place`, if there is one, how far this sender came.

        Raises:
            BrokerUnavailable, BrokerRefused, ConfigError: neither is so; leave, and begin again.
        """
        if not self.open_rows:
            return
        if place is not None:
            offset = {TopicPartition(self._target.topic, 0): OffsetAndMetadata(place, "", -1)}
            self._bounded(lambda: self._producer.send_offsets_to_transaction(offset, self._target.sender))
        self._bounded(self._producer.commit_transaction)
        self.open_rows = self.open_bytes = 0

    def _bounded(self, call: Callable[[], None]) -> None:
        """Do what kafka-python would wait for without end."""
        try:
            within(PATIENCE_SECONDS, call, "transaction")
        except errors.KafkaError as error:
            raise self._failure(error) from error

    def _failure(self, error: errors.KafkaError) -> StreammetaError:
        kafka, topic, sender = self._target.kafka, self._target.topic, self._target.sender
        rights = {
            errors.TopicAuthorizationFailedError: ("Write", "topic", topic),
            errors.TransactionalIdAuthorizationFailedError: ("Write", "transactional-id", sender),
            errors.GroupAuthorizationFailedError: ("Read", "group", sender),
        }
        if type(error) in rights:
            return missing_right(kafka, *rights[type(error)])
        if isinstance(error, errors.MessageSizeTooLargeError | errors.RecordListTooLargeError):
            return ConfigError(
                f"a record is larger than topic {topic!r} takes ({error}); raise its max.message.bytes"
            )
        text = str(error) or type(error).__name__
        return named(error, kafka) or BrokerUnavailable(
            f"{kafka.bootstrap_servers} did not take all: {text}; check it and start again: nothing is "
            "sent twice"
        )
