"""What must be acknowledged before an offset moves on: dead letters and answers, on their way to a topic.

Invariant: a parcel is held on to until the broker has acknowledged it; after a broken connection, or with a
new producer where the old one is beyond repair, it is sent again: it may arrive twice, never not at all.
"""

import contextlib
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

import structlog
from kafka import KafkaProducer, errors

from streammeta.errors import (
    BrokerRefused,
    BrokerUnavailable,
    ConfigError,
    LoginRefused,
    StreammetaError,
    TopicMissing,
)
from streammeta.stream.base import Waiting, untold
from streammeta.stream.kafka.access import KafkaSettings, always, client_config, connect
from streammeta.stream.kafka.parcel import ITS_OWN, Parcel
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

_FIXED = {**UNTOUCHED, "acks": "all", "enable_idempotence": True}
_DEFAULTS = {
    "allow_auto_create_topics": False,
    "compression_type": "zstd",  # a record that came compressed must fit again
    "max_request_size": (1 << 31) - 1,  # what the record format can hold; the broker knows its own limit
    "max_block_ms": 5_000,
    "request_timeout_ms": 10_000,
    "delivery_timeout_ms": 15_000,
}


P = TypeVar("P", bound=Parcel)


class Outbox(ABC, Generic[P]):
    """Parcels for one topic over an idempotent producer. Not for several threads.

    Attributes:
        noun: What a parcel is called.
    """

    noun: ClassVar[str]

    def __init__(self, settings: KafkaSettings, topic: str, keep_going: Callable[[], bool] = always) -> None:
        """Connect.

        Args:
            settings: The `[kafka]` section.
            topic: Where parcels go.
            keep_going: Asked while waiting; False ends a wait with an error (a flush: after `GRACE_SECONDS`).

        Raises:
            BrokerUnavailable, BrokerRefused, TopicMissing, ConfigError: as `Source.start`.
        """
        self._settings, self._topic, self._keep_going = settings, topic, keep_going
        self._pending: deque[P] = deque()
        self._rebuilds = 0
        self._stop_at: float | None = None
        self._waiting: Waiting = untold
        self._silent_since = 0.0
        self._unbegun = 0
        self._complained_at = -_COMPLAINT_SECONDS
        self._ready_topic()
        self._producer = self._make_producer()
        self._producer.partitions_for(topic)

    @abstractmethod
    def _ready_topic(self) -> None:
        """See that the topic is there and may be written to. Raises as `__init__`."""

    @abstractmethod
    def _lessen(self, parcel: P, error: errors.KafkaError) -> bool:
        """Leave out of the parcel what may be to blame, or give it up; False where neither helps."""

    @abstractmethod
    def _failed(self, why: str | StreammetaError) -> StreammetaError:
        """The error that tells why waiting cannot help."""

    def _make_producer(self) -> Any:
        config = client_config(KafkaProducer, self._settings, _DEFAULTS, _FIXED)
        self._patience_seconds = config["delivery_timeout_ms"] / 1000 + OVERDUE_SECONDS
        return connect(KafkaProducer, self._settings, config, self._go_on).client

    def _go_on(self) -> bool:
        """Asked during every wait, several times a second; tells of a long one."""
        if self._pending and time.monotonic() - self._silent_since >= UNTOLD_SECONDS:
            self._waiting()
        return self._keep_going()

    def _put(self, parcel: P) -> None:
        """Let it be sent; behind one that could not be begun it waits for the next flush."""
        self._pending.append(parcel)
        if not self._unbegun:
            self._begin(parcel)

    def _begin(self, parcel: P) -> None:
        parcel.begun_at = time.monotonic()
        try:
            parcel.future = send_untouched(self._producer, self._topic, parcel)
            self._unbegun = 0
        except errors.KafkaError as error:
            parcel.future = None
            if error.retriable:
                self._complain(error)
            else:
                parcel.refused = error

    def _complain(self, error: errors.KafkaError) -> None:
        """Log that parcels cannot be begun, from the second failure in a row on, now and then."""
        self._unbegun += 1
        if self._unbegun > 1 and time.monotonic() - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = time.monotonic()
            log.warning(
                f"{self.noun}s cannot be sent, tried again",
                topic=self._topic,
                waiting=len(self._pending),
                cause=words(error),
            )

    def _acknowledge(self, waiting: Waiting) -> None:
        """Return when all is acknowledged; a broker that is away is waited for, told after `UNTOLD_SECONDS`.

        Raises:
            Unacknowledged: one was refused for good, or `keep_going` said no. What was not acknowledged is
                kept, and a later flush tries it again.
            BrokerRefused: as `_failed` has it.
        """
        self._waiting, self._silent_since = waiting, time.monotonic()
        try:
            self._flush()
        finally:
            self._waiting = untold

    def _flush(self) -> None:
        while self._pending:
            parcel = self._pending[0]
            if parcel.given_up:
                self._next()
            elif parcel.refused is not None:
                self._mend_unbegun(parcel, parcel.refused)
            elif parcel.future is None:
                self._check_stop()
                time.sleep(_SLICE_SECONDS)
                self._begin(parcel)
                if not parcel.alone:
                    self._begin_unbegun()
            elif self._done(parcel):
                self._rebuilds = 0
                self._next()

    def _next(self) -> None:
        """The first has been seen to; what waited while it was sent alone is begun."""
        if self._pending.popleft().alone:
            self._begin_unbegun()
        self._silent_since = time.monotonic()

    def _begin_unbegun(self) -> None:
        for parcel in self._pending:
            if self._unbegun:
                return
            if parcel.future is None and parcel.refused is None:
                self._begin(parcel)

    def _done(self, parcel: P) -> bool:
        """Whether it was acknowledged, after a short wait; a failure is mended or raised."""
        future = parcel.future
        with contextlib.suppress(errors.KafkaError):
            future.get(timeout=_SLICE_SECONDS)
            return True
        if future.failed():
            self._mend(parcel, future.exception)
        elif time.monotonic() - parcel.begun_at > self._patience_seconds:
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
            raise self._failed(f"stopped before {left} {self.noun}s were acknowledged by {self._topic!r}")

    def _mend_unbegun(self, parcel: P, error: errors.KafkaError) -> None:
        """Send what the producer does not take with less, or with another producer; or raise why not."""
        parcel.refused, parcel.alone = None, True
        self._mend(parcel, error)

    def _with_less(self, parcel: P, error: errors.KafkaError) -> bool:
        """Send the parcel without what may be to blame for its refusal.

        It is sent alone before: until now it may have shared a batch with the parcel that is to blame.
        """
        its_own = isinstance(error, ITS_OWN)
        if not its_own and (parcel.alone or type(error) is not errors.KafkaError):
            return False  # the plain error is what those hear that were in a batch with the one to blame
        if parcel.alone and not self._lessen(parcel, error):
            return False
        parcel.alone = True
        close_producer(self._producer)  # after such an error it refuses whatever comes
        self._producer = self._reconnected()
        for other in self._pending:
            other.future = None
        if not parcel.given_up:
            self._begin(parcel)
        return True

    def _mend(self, parcel: P, error: errors.KafkaError) -> None:
        """Send it again, or raise why that is of no use."""
        if self._with_less(parcel, error):
            return
        if isinstance(error, errors.AuthorizationError):
            raise self._failed(missing_right(self._settings, "Write", "topic", self._topic)) from error
        if not isinstance(error, errors.RetriableError):
            self._rebuilds += 1
            if self._rebuilds > _REBUILDS:
                raise self._failed(f"the topic {self._topic!r} refuses {self.noun}s: {error}") from error
        self._replace(words(error))

    def _replace(self, cause: str) -> None:
        """Send all again with a new producer: the old one may never answer any more, nor say so."""
        log.warning(f"{self.noun} producer replaced", cause=cause, waiting=len(self._pending))
        close_producer(self._producer)
        self._producer = self._reconnected()
        for parcel in self._pending:
            self._begin(parcel)

    def _reconnected(self) -> Any:
        """A new producer, as soon as the broker is there; or why waiting cannot help."""
        refused_at: float | None = None
        while True:
            try:
                self._ready_topic()
                return self._make_producer()
            except LoginRefused as error:
                refused_at = refused_at or time.monotonic()
                if time.monotonic() - refused_at > self._settings.refused_grace_seconds:
                    raise
                self._wait_for_broker(error)
            except (TopicMissing, BrokerRefused, ConfigError) as error:
                raise self._failed(error) from error
            except BrokerUnavailable as error:
                self._wait_for_broker(error)

    def _wait_for_broker(self, error: StreammetaError) -> None:
        left = len(self._pending)
        if not self._keep_going():
            raise self._failed(f"stopped before {left} {self.noun}s were acknowledged") from error
        log.warning(f"{self.noun}s wait for the broker", waiting=left, cause=str(error))
        time.sleep(_SLICE_SECONDS)

    def close(self) -> None:
        """Let go of connections; what was not flushed is given two seconds. May be called twice."""
        with contextlib.suppress(errors.KafkaError):
            if self._pending:
                self._producer.flush(_CLOSE_SECONDS)
        close_producer(self._producer)
