"""Answers on Kafka: predictions for records without labels, each acknowledged before its offset moves on."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Final

import structlog
from kafka import errors

from streammeta.errors import AnswerFailed, BadEvent, BrokerRefused, Reason, StreammetaError
from streammeta.events import Record
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings, always
from streammeta.stream.kafka.outbox import Outbox
from streammeta.stream.kafka.parcel import Parcel
from streammeta.stream.kafka.refusals import words
from streammeta.stream.kafka.topics import BROKER_MESSAGE_BYTES, administered
from streammeta.stream.kafka.untouched import headers_of

log = structlog.get_logger(__name__)

WINDOW: Final = 5_000
"""Unacknowledged answers that are too many."""
WINDOW_BYTES: Final = 32 << 20
"""The same of their values."""


class Reply(Parcel):
    """An answer on its way, and the record that asked."""

    def __init__(self, answer: Record, asked: Record) -> None:
        super().__init__(answer.key, answer.value, headers_of(answer))
        self.asked = asked


class KafkaAnswers(Outbox[Reply]):
    """`Answers` over an idempotent producer. Not for several threads."""

    noun: ClassVar[str] = "answer"

    def __init__(
        self, settings: KafkaSettings, topic: str, *, keep_going: Callable[[], bool] = always
    ) -> None:
        """Connect; create the output topic with the source topic's partitions, if it is missing.

        Args and Raises: as `Outbox`.
        """
        self._given_up: list[tuple[Record, BadEvent]] = []
        super().__init__(settings, topic, keep_going)

    @property
    def crowded(self) -> bool:
        """As `Answers.crowded`."""
        pending = self._pending
        while pending and pending[0].future is not None and pending[0].future.succeeded():
            pending.popleft()
        return len(pending) >= WINDOW or sum(len(one.value or b"") for one in pending) >= WINDOW_BYTES

    def send(self, answer: Record, asked: Record) -> None:
        """As `Answers.send`."""
        self._put(Reply(answer, asked))

    def flush(self, waiting: Waiting = untold) -> Sequence[tuple[Record, BadEvent]]:
        """As `Answers.flush`; a broker that is away is waited for.

        Raises:
            AnswerFailed: one was refused for good, or `keep_going` said no. What was not acknowledged is
                kept, and a later flush tries it again.
            BrokerRefused: the right to write was taken away.
        """
        self._acknowledge(waiting)
        given_up, self._given_up = self._given_up, []
        return given_up

    def _ready_topic(self) -> None:
        """See that the topic is there, made like the source where it was not, and may be written to."""
        settings = self._settings
        with administered(settings, self._go_on) as administration:
            if administration.find(self._topic, "Write") is None:
                source = administration.require_readable(settings.topic)
                room = max(administration.max_message_bytes(settings.topic), BROKER_MESSAGE_BYTES)
                administration.ensure(self._topic, len(source.partitions), {"max.message.bytes": str(room)})
            administration.require_writable(self._topic)

    def _failed(self, why: str | StreammetaError) -> StreammetaError:
        if isinstance(why, BrokerRefused):
            return why
        return AnswerFailed(why if isinstance(why, str) else f"an answer was refused: {why}")

    def _lessen(self, parcel: Reply, error: errors.KafkaError) -> bool:
        """Give it up: an answer without its prediction is none. The record that asked is set aside."""
        size_bytes, cause = len(parcel.value or b""), words(error)
        message = f"its answer of {size_bytes} bytes is refused by the topic {self._topic!r}: {cause}"
        self._given_up.append((parcel.asked, BadEvent(Reason.TOO_LARGE, message, stage="predict")))
        parcel.given_up = True
        return True
