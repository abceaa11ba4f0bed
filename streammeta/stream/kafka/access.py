"""Reaching the broker, and saying in words why it was not reached.

kafka-python retries a refused login or an untrusted certificate until a time-out and tells the cause only to
its log. `connect` listens to that log while a client is made, and raises what it heard as one of our errors:
at once for what waiting cannot mend, at the deadline for a broker that is away.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, Protocol

from kafka import KafkaConsumer
from kafka.errors import KafkaConfigurationError, KafkaError
from kafka.metrics.stats import Total
from kafka.net.compat import KafkaNetClient

from streammeta.config.secret import masked
from streammeta.errors import BrokerUnavailable, ConfigError, StreammetaError
from streammeta.stream.kafka.batches import bound
from streammeta.stream.kafka.refusals import Trouble, named, unanswered, without_secrets
from streammeta.stream.kafka.waits import close_client

RECONNECT_MAX_MS = 2_000
"""Longest pause between attempts to reach a broker that is away."""
REQUEST_TIMEOUT_MS = 10_000
"""How long an administrative request may take."""
SUSPICION_SECONDS = 2.0
"""How long a broker may close connections without a word before we look for the cause."""


class KafkaSettings(Protocol):
    """The `[kafka]` section, as far as the stream needs it."""

    @property
    def bootstrap_servers(self) -> str:
        """Comma-separated `host:port`."""

    @property
    def topic(self) -> str:
        """The topic of events."""

    @property
    def group_id(self) -> str:
        """Where offsets are committed for lag tools."""

    @property
    def start(self) -> Literal["earliest", "latest"]:
        """Where a new state begins."""

    @property
    def on_lost_offsets(self) -> Literal["fail", "earliest", "latest"]:
        """What to do when the log no longer holds the next offset."""

    @property
    def dead_letter_topic(self) -> str:
        """Where unusable records go."""

    @property
    def max_event_bytes(self) -> int:
        """Largest value that is decoded."""

    @property
    def max_batch_bytes(self) -> int:
        """What a compressed batch may expand to."""

    @property
    def on_corrupt(self) -> Literal["fail", "skip"]:
        """What to do when a batch in the log is damaged."""

    @property
    def connect_timeout_seconds(self) -> float:
        """How long to try to reach a broker at start."""

    @property
    def refused_grace_seconds(self) -> float:
        """How long a refused login is borne."""

    @property
    def client(self) -> Mapping[str, Any]:
        """Passed to kafka-python; each client gets the keys it knows."""


def always() -> bool:
    """Keep going: the default of callers that are never interrupted."""
    return True


class Hearing(logging.Handler):
    """Remembers the exceptions in kafka-python's log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._listeners: list[list[BaseException]] = []
        self.last = ""
        """The last trouble in words, for a log line that tells of a lost connection."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what went wrong; show nothing."""
        arguments = record.args if isinstance(record.args, tuple) else ()
        for error in arguments:
            if isinstance(error, BaseException):
                self.last = str(error) or type(error).__name__
                for heard in self._listeners:
                    heard.append(error)

    @contextlib.contextmanager
    def listen(self) -> Iterator[list[BaseException]]:
        """The exceptions logged from now on, growing; other threads append to it."""
        heard: list[BaseException] = []
        self._listeners.append(heard)
        try:
            yield heard
        finally:
            # By identity: two empty lists are equal.
            self._listeners = [other for other in self._listeners if other is not heard]


HEARING = Hearing()


def quiet_kafka() -> None:
    """Keep kafka-python's log lines from the user, who asks for them by setting its logger to DEBUG.

    What matters in them is told by our errors. Called before each connection, as others set levels too.
    """
    logger = logging.getLogger("kafka")
    if HEARING not in logger.handlers:
        logger.addHandler(HEARING)
    logger.propagate = logger.level == logging.DEBUG
    if not logger.propagate:
        logger.setLevel(logging.WARNING)


def client_config(
    kind: Any,
    settings: KafkaSettings,
    defaults: Mapping[str, Any] | None = None,
    fixed: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`defaults`, over them what this kind of client knows of `[kafka.client]`, over them `fixed`."""
    known = {key: value for key, value in settings.client.items() if key in kind.DEFAULT_CONFIG}
    patience = {
        "reconnect_backoff_max_ms": RECONNECT_MAX_MS,
        "bootstrap_timeout_ms": int(settings.connect_timeout_seconds * 1000),
    }
    return {
        **patience,
        **(defaults or {}),
        **known,
        **(fixed or {}),
        "bootstrap_servers": settings.bootstrap_servers,
    }


class Throttling(Total):  # type: ignore[misc]  # kafka-python ships no types
    """Until when the brokers let the client wait for a quota, as their answers say."""

    __slots__ = ("until",)

    def __init__(self) -> None:
        super().__init__()
        self.until = 0.0

    def record(self, config: Any, value: float, now: float) -> None:
        """Take in one answer's milliseconds of throttling."""
        super().record(config, value, now)
        if value:
            self.until = time.monotonic() + value / 1000


class Connected:
    """A client of kafka-python, how often its brokers have answered, and whether they throttle it."""

    def __init__(self, kind: Any, config: Mapping[str, Any]) -> None:
        self.client: Any = None
        self.error: Exception | None = None
        self._kind, self._config = kind, config
        self._latency_ms, self._fetch_ms, self._throttling = Total(), Total(), Throttling()
        self._net: Any = None
        self._thread = threading.Thread(target=self._make, name="kafka-connect", daemon=True)
        self._thread.start()

    def answered(self) -> float:
        """A number that grows with every answer of a broker, also an empty one; 0 before the first."""
        return float(self._latency_ms.measure(None, 0.0))

    def fetched(self) -> float:
        """A number that grows with every fetch that was answered, also with nothing."""
        return float(self._fetch_ms.measure(None, 0.0))

    @property
    def throttled_until(self) -> float:
        """Monotonic seconds; in the past where no quota holds the client back."""
        return self._throttling.until

    def wait(self, seconds: float) -> bool:
        """Whether the client was made, or failed, within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def give_up(self) -> None:
        """Stop the attempts and let go of the connections of a client that was not made."""
        if self._net is not None:
            close_client(self._net)
        self.wait(1.0)

    def _make(self) -> None:
        try:
            self.client = self._kind(**self._config, kafka_client=self._make_net)
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread, whatever it is
            self.error = error

    def _make_net(self, metrics: Any, **config: Any) -> Any:
        # kafka-python records each answer under these names.
        for sensor, stat in (
            ("request-latency", self._latency_ms),
            ("fetch-latency", self._fetch_ms),
            ("throttle-time", self._throttling),
        ):
            metrics.sensor(sensor).add(metrics.metric_name(sensor, "streammeta"), stat)
        self._net = KafkaNetClient(metrics=metrics, **config)
        return self._net


def connect(
    kind: Any,
    settings: KafkaSettings,
    config: Mapping[str, Any],
    keep_going: Callable[[], bool] = always,
) -> Connected:
    """Make a `KafkaConsumer`, `KafkaProducer` or `KafkaAdminClient` that has reached a broker.

    Args:
        kind: The class.
        settings: Named in messages.
        config: Its keyword arguments, see `client_config`.
        keep_going: Asked about 20 times a second; False ends the attempt.

    Raises:
        BrokerRefused: the login or the certificate; told within some 4 s.
        BrokerUnavailable: not reached within `connect_timeout_seconds`, or `keep_going` said no.
        ConfigError: kafka-python cannot work with the settings.
    """
    quiet_kafka()
    with HEARING.listen() as heard:
        attempt = Connected(kind, config)
        trouble = _watch(attempt, heard, settings, keep_going)
    if trouble is None and attempt.error is None:
        if kind is KafkaConsumer:
            bound(attempt.client, settings.max_batch_bytes)
        return attempt
    attempt.give_up()
    raise trouble or _failure(attempt, heard, settings)


def _watch(
    attempt: Connected, heard: list[BaseException], settings: KafkaSettings, keep_going: Callable[[], bool]
) -> StreammetaError | None:
    """Wait for the attempt; what ends it early, or None."""
    suspicion = Trouble(settings, SUSPICION_SECONDS)
    while not attempt.wait(0.05):
        if not keep_going():
            return BrokerUnavailable(f"stopped while connecting to {settings.bootstrap_servers}")
        refusal = suspicion.judge(list(heard), answered=attempt.answered() > 0)
        if refusal is not None:
            return refusal
    return None


def _failure(attempt: Connected, heard: list[BaseException], settings: KafkaSettings) -> StreammetaError:
    error = attempt.error
    if error is not None and (known := named(error, settings)) is not None:
        return known
    if isinstance(error, KafkaConfigurationError) or not isinstance(error, KafkaError):
        client = masked(("kafka", "client"), dict(settings.client))
        return ConfigError(f"[kafka.client] {client!r}: {without_secrets(settings, str(error))}")
    return unanswered(settings, heard)


@contextlib.contextmanager
def connected(
    kind: Any,
    settings: KafkaSettings,
    keep_going: Callable[[], bool] = always,
    fixed: Mapping[str, Any] | None = None,
) -> Iterator[Any]:
    """A client of `kind` for a short while; closed at the end. Raises as `connect`."""
    config = client_config(kind, settings, {"request_timeout_ms": REQUEST_TIMEOUT_MS}, fixed)
    client = connect(kind, settings, config, keep_going).client
    try:
        yield client
    finally:
        close_client(client)
