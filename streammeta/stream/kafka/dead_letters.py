"""Dead letters on Kafka: each record byte for byte, with headers that say where it came from and why."""

from collections.abc import Callable
from typing import ClassVar

import structlog
from kafka import errors

from streammeta.errors import BadEvent, DeadLetterFailed, StreammetaError
from streammeta.events import Record
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings, always
from streammeta.stream.kafka.dead_letter_topic import (
    HEADROOM_BYTES,
    ensure_dead_letter_topic,
    limits_of_dead_letters,
)
from streammeta.stream.kafka.letter import Outgoing
from streammeta.stream.kafka.outbox import Outbox
from streammeta.stream.kafka.parcel import TOO_LARGE
from streammeta.stream.kafka.refusals import words

log = structlog.get_logger(__name__)


class KafkaDeadLetters(Outbox[Outgoing]):
    """`DeadLetters` over an idempotent producer. Not for several threads."""

    noun: ClassVar[str] = "dead letter"

    def __init__(self, settings: KafkaSettings, *, keep_going: Callable[[], bool] = always) -> None:
        """Connect; create the dead-letter topic, like the source topic but for larger records, if missing.

        Args and Raises: as `Outbox`.
        """
        super().__init__(settings, settings.dead_letter_topic, keep_going)
        for limit in limits_of_dead_letters(settings, self._go_on):
            log.warning("dead-letter topic does not take every record whole", **limit._asdict())

    def send(self, record: Record, refusal: BadEvent) -> None:
        """As `DeadLetters.send`."""
        self._put(Outgoing(record, refusal))

    def flush(self, waiting: Waiting = untold) -> None:
        """As `DeadLetters.flush`; a broker that is away is waited for.

        Raises:
            DeadLetterFailed: one was refused for good, or `keep_going` said no. What was not acknowledged is
                kept, and a later flush tries it again.
        """
        self._acknowledge(waiting)

    def _ready_topic(self) -> None:
        ensure_dead_letter_topic(self._settings, self._go_on)

    def _failed(self, why: str | StreammetaError) -> StreammetaError:
        return DeadLetterFailed(why if isinstance(why, str) else f"a dead letter was refused: {why}")

    def _lessen(self, parcel: Outgoing, error: errors.KafkaError) -> bool:
        """Leave out what may be to blame, and say so in the letter and in the log."""
        if parcel.shorten(self._topic, words(error)):
            log.warning(
                "dead letter sent without its content",
                topic=self._topic,
                source=parcel.place,
                left_out=parcel.left_out,
                cause=words(error),
            )
            return True
        if isinstance(error, TOO_LARGE):
            raise self._failed(self._too_large()) from error
        return False

    def _too_large(self) -> str:
        return (
            f"the dead-letter topic {self._topic!r} refuses even a letter without content. Raise its limit: "
            f"kafka-configs --bootstrap-server {self._settings.bootstrap_servers} --alter "
            f"--topic {self._topic} --add-config max.message.bytes={HEADROOM_BYTES}; or max_request_size in "
            "[kafka.client], if it is set there"
        )
