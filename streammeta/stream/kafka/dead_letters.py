"""Dead letters on Kafka: each record byte for byte, with headers that say where it came from and why.

Invariant: a letter is held on to until the broker has acknowledged it; after a broken connection, or with a
new producer where the old one is beyond repair, it is sent again: it may arrive twice, never not at all.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import structlog
from kafka import KafkaProducer, errors

from streammeta.errors import (
    BadEvent,
    BrokerRefused,
    BrokerUnavailable,
    ConfigError,
    DeadLetterFailed,
    LoginRefused,
    StreammetaError,
    TopicMissing,
)
from streammeta.events import Record
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings, always, client_config, connect
from streammeta.stream.kafka.dead_letter_topic import (
    HEADROOM_BYTES,
    ensure_dead_letter_topic,
    limits_of_dead_letters,
)
from streammeta.stream.kafka.letter import Outgoing
from streammeta.stream.kafka.refusals import missing_right, words
from streammeta.stream.kafka.untouched import UNTOUCHED, send_untouched
from streammeta.stream.kafka.waits import close_producer

log = structlog.get_logger(__name__)

GRACE_SECONDS = 2.0
"""How long acknowledgements are still waited for once `keep_going` says no."""
UNTOLD_SECONDS = 2.0
"""How long an acknowledgement may take before `waiting` is told of it."""
OVERDUE_SECONDS = 5.0
"""How much longer than `delivery_timeout_ms` an answer is waited for: after a hang none may ever come."""
_SLICE_SECONDS = 0.2
_CLOSE_SECONDS = 2.0
_COMPLAINT_SECONDS = 30.0
_REBUILDS = 3
"""How often a producer is replaced without any acknowledgement in between."""
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_ITS_OWN = (*_TOO_LARGE, errors.InvalidRecordError, errors.InvalidTimestampError, errors.PolicyViolationError)
"""Refusals that are the letter's own: what is sent with less may be taken."""


_FIXED = {**UNTOUCHED, "acks": "all", "enable_idempotence": True}
_DEFAULTS = {
    "allow_auto_create_topics": False,
    "compression_type": "zstd",  # a record that came compressed must fit again
    "max_request_size": (1 << 31) - 1,  # what the record format can hold; the broker knows its own limit
    "max_block_ms": 5_000,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": 15_000,
}


class KafkaDeadLetters:
    """`DeadLetters` over an idempotent producer. Not for several threads."""

    def __init__(self, settings: KafkaSettings, *, keep_going: Callable[[], bool] = always) -> None:
        """Connect; create the dead-letter topic, like the source topic but for larger records, if missing.

        Args:
            settings: The `[kafka]` section.
            keep_going: Asked while waiting; False ends a wait with an error (`flush`: after `GRACE_SECONDS`).

        Raises:
            BrokerUnavailable, BrokerRefused, TopicMissing, ConfigError: as `Source.start`.
        """
        self._settings, self._keep_going = settings, keep_going
        self._topic = settings.dead_letter_topic
        self._pending: deque[Outgoing] = deque()
        self._rebuilds = 0
        self._stop_at: float | None = None
        self._waiting: Waiting = untold
        self._silent_since = 0.0
        self._unbegun = 0
        self._complained_at = -_COMPLAINT_SECONDS
        ensure_dead_letter_topic(settings, self._go_on)
        for limit in limits_of_dead_letters(settings, self._go_on):
            log.warning("dead-letter topic does not take every record whole", **limit._asdict())
        self._producer = self._make_producer()
        self._producer.partitions_for(self._topic)

    def _make_producer(self) -> Any:
        config = client_config(KafkaProducer, self._settings, _DEFAULTS, _FIXED)
        self._patience_seconds = config["delivery_timeout_ms"] / 1000 + OVERDUE_SECONDS
        return connect(KafkaProducer, self._settings, config, self._go_on).client

    def _go_on(self) -> bool:
        """Asked during every wait, several times a second; tells of a long one."""
        if self._pending and time.monotonic() - self._silent_since >= UNTOLD_SECONDS:
            self._waiting()
        return self._keep_going()

    def send(self, record: Record, refusal: BadEvent) -> None:
        """As `DeadLetters.send`."""
        letter = Outgoing(record, refusal)
        self._pending.append(letter)
        self._begin(letter)

    def _begin(self, letter: Outgoing) -> None:
        letter.begun_at = time.monotonic()
        try:
            letter.future = send_untouched(self._producer, self._topic, letter)
            self._unbegun = 0
        except errors.KafkaError as error:
            letter.future = None
            letter.refused = None if error.retriable else error
            self._complain(error)

    def _complain(self, error: errors.KafkaError) -> None:
        """Log that letters cannot be begun, from the second failure in a row on, now and then."""
        self._unbegun += 1
        if self._unbegun > 1 and time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            log.warning(
                "dead letters cannot be sent, tried again",
                topic=self._topic,
                letters=len(self._pending),
                cause=words(error),
            )

    def flush(self, waiting: Waiting = untold) -> None:
        """As `DeadLetters.flush`; a broker that is away is waited for, and told after `UNTOLD_SECONDS`.

        Raises:
            DeadLetterFailed: one was refused for good, or `keep_going` said no. What was not acknowledged is
                kept, and a later flush tries it again.
        """
        self._waiting, self._silent_since = waiting, time.monotonic()
        try:
            self._flush()
        finally:
            self._waiting = untold

    def _flush(self) -> None:
        while self._pending:
            letter = self._pending[0]
            if letter.refused is not None:
                self._mend_unbegun(letter, letter.refused)
            elif letter.future is None:
                self._check_stop()
                time.sleep(_SLICE_SECONDS)
                self._begin(letter)
            elif self._done(letter):
                self._pending.popleft()
                self._rebuilds = 0
                if letter.alone:
                    self._begin_unbegun()
                self._silent_since = time.monotonic()

    def _begin_unbegun(self) -> None:
        """The letters that waited while one was sent alone."""
        for letter in self._pending:
            if letter.future is None and letter.refused is None:
                self._begin(letter)

    def _done(self, letter: Outgoing) -> bool:
        """Whether it was acknowledged, after a short wait; a failure is mended or raised."""
        future = letter.future
        with contextlib.suppress(errors.KafkaError):
            future.get(timeout=_SLICE_SECONDS)
            return True
        if future.failed():
            self._mend(letter, future.exception)
        elif time.monotonic() - letter.begun_at > self._patience_seconds:
            self._replace(f"no answer within {self._patience_seconds:g} s")
        else:
            self._check_stop()
        return False

    def _check_stop(self) -> None:
        """A broker that is there gets time to acknowledge what is under way before a stop counts."""
        if self._go_on():
            self._stop_at = None
            return
        self._stop_at = self._stop_at or time.monotonic() + GRACE_SECONDS
        if time.monotonic() >= self._stop_at:
            left = len(self._pending)
            raise DeadLetterFailed(f"stopped before {left} dead letters were acknowledged by {self._topic!r}")

    def _mend_unbegun(self, letter: Outgoing, error: errors.KafkaError) -> None:
        """Send what the producer does not take with less, or with another producer; or raise why not."""
        letter.refused, letter.alone = None, True
        self._mend(letter, error)

    def _with_less(self, letter: Outgoing, error: errors.KafkaError) -> bool:
        """Send the letter without what may be to blame for its refusal, and say so in it and in the log.

        It is sent alone before: until now it may have shared a batch with the letter that is to blame.
        """
        its_own = isinstance(error, _ITS_OWN)
        if not its_own and (letter.alone or type(error) is not errors.KafkaError):
            return False  # the plain error is what those hear that were in a batch with the one to blame
        if letter.alone:
            if not letter.shorten(self._topic, words(error)):
                return False
            self._tell_shortened(letter, error)
        letter.alone = True
        close_producer(self._producer)  # after such an error it refuses whatever comes
        self._producer = self._reconnected()
        for other in self._pending:
            other.future = None
        self._begin(letter)
        return True

    def _tell_shortened(self, letter: Outgoing, error: errors.KafkaError) -> None:
        log.warning(
            "dead letter sent without its content",
            topic=self._topic,
            source=letter.place,
            left_out=letter.left_out,
            cause=words(error),
        )

    def _mend(self, letter: Outgoing, error: errors.KafkaError) -> None:
        """Send it again, or raise why that is of no use."""
        if self._with_less(letter, error):
            return
        if isinstance(error, _TOO_LARGE):
            raise DeadLetterFailed(self._too_large()) from error
        if isinstance(error, errors.AuthorizationError):
            right = missing_right(self._settings, "Write", "topic", self._topic)
            raise DeadLetterFailed(f"a dead letter was refused: {right}") from error
        if not isinstance(error, errors.RetriableError):
            self._rebuilds += 1
            if self._rebuilds > _REBUILDS:
                raise DeadLetterFailed(
                    f"the dead-letter topic {self._topic!r} refuses records: {error}"
                ) from error
        self._replace(words(error))

    def _too_large(self) -> str:
        return (
            f"the dead-letter topic {self._topic!r} refuses even a letter without content. Raise its limit: "
            f"kafka-configs --bootstrap-server {self._settings.bootstrap_servers} --alter "
            f"--topic {self._topic} --add-config max.message.bytes={HEADROOM_BYTES}; or max_request_size in "
            "[kafka.client], if it is set there"
        )

    def _replace(self, cause: str) -> None:
        """Send all again with a new producer: the old one may never answer any more, nor say so."""
        log.warning("dead-letter producer replaced", cause=cause, letters=len(self._pending))
        close_producer(self._producer)
        self._producer = self._reconnected()
        for letter in self._pending:
            self._begin(letter)

    def _reconnected(self) -> Any:
        """A new producer, as soon as the broker is there; or why waiting cannot help."""
        refused_at: float | None = None
        while True:
            try:
                ensure_dead_letter_topic(self._settings, self._go_on)
                return self._make_producer()
            except LoginRefused as error:
                refused_at = refused_at or time.monotonic()
                if time.monotonic() - refused_at > self._settings.refused_grace_seconds:
                    raise
                self._wait_for_broker(error)
            except (TopicMissing, BrokerRefused, ConfigError) as error:
                raise DeadLetterFailed(f"a dead letter was refused: {error}") from error
            except BrokerUnavailable as error:
                self._wait_for_broker(error)

    def _wait_for_broker(self, error: StreammetaError) -> None:
        left = len(self._pending)
        if not self._keep_going():
            raise DeadLetterFailed(f"stopped before {left} dead letters were acknowledged") from error
        log.warning("dead letters wait for the broker", letters=left, cause=str(error))
        time.sleep(_SLICE_SECONDS)

    def close(self) -> None:
        """As `DeadLetters.close`; what was not flushed is given two seconds."""
        with contextlib.suppress(errors.KafkaError):
            if self._pending:
                self._producer.flush(_CLOSE_SECONDS)
        close_producer(self._producer)
