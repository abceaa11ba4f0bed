"""Logging: one set-up for structlog and the standard library, and the lines that outcomes give rise to.

All logs go to one stream, as lines for a person or as JSON. Text that came with a record is quoted, so that
it can neither break a line nor steer a terminal.
"""

import io
import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Any, TextIO

import msgspec
import structlog
from structlog.typing import EventDict, ExcInfo, FilteringBoundLogger, Processor

from streammeta.errors import ConfigError
from streammeta.outcomes import (
    Checkpointed,
    Duplicate,
    Executing,
    Expired,
    Learned,
    Outcome,
    Refused,
    TaskChanged,
    Turned,
)
from streammeta.quoting import quoted, quoted_json, quoted_line

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("console", "json")
SIGNAL_EFFECTS = {
    "SIGTERM": "finish the event in hand, checkpoint, stop",
    "SIGINT": "finish the event in hand, checkpoint, stop",
    "SIGHUP": "reload learning rates and log level",
    "SIGUSR1": "checkpoint now",
}


def tell_cause(error: Exception) -> None:
    """At level debug the traceback of what caused it: of a user's code, for those who look for it."""
    if error.__cause__ is not None:
        structlog.get_logger().debug("the cause", exc_info=error.__cause__)


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the given stream; with none, to what `sys.stderr` is at that moment.

    A live view replaces `sys.stderr` while it runs, and so gets the lines to show above itself.
    """

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream)
        self._follows_stderr = stream is None

    def emit(self, record: logging.LogRecord) -> None:
        if self._follows_stderr:
            self.stream = sys.stderr
        super().emit(record)


def configure_logging(level: str, format: str, stream: TextIO | None = None) -> None:  # noqa: A002 (log.format)
    """Send the logs of this process to `stream` (none: stderr). May be called again, to change the level.

    Loggers of the standard library are routed the same way, but for kafka-python's: the Kafka source listens
    to them and tells what matters, with a remedy.

    Raises:
        ConfigError: unknown level or format.
    """
    _check("log.level", level, LEVELS)
    _check("log.format", format, FORMATS)
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso" if format == "json" else "%Y-%m-%dT%H:%M:%SZ", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    handler = _Handler(stream)
    handler.setFormatter(_formatter(shared, _renderers(format, stream or sys.stderr)))
    _install(handler, level.upper())


def _check(field: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{field} = {value!r} is not known; use one of: {', '.join(allowed)}")


def _formatter(shared: list[Processor], renderers: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
    )


def _renderers(format: str, stream: TextIO) -> list[Processor]:  # noqa: A002 (log.format)
    if format == "json":
        return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    return [
        _quoted_event,
        structlog.dev.ConsoleRenderer(
            colors=stream.isatty() and not os.environ.get("NO_COLOR"),
            repr_native_str=True,
            sort_keys=False,
            exception_formatter=_quoted_traceback,
        ),
    ]


def _json(event: object, *, default: Callable[[Any], Any]) -> str:
    """Strict JSON: NaN and infinity become null."""
    return quoted_json(msgspec.json.encode(event, enc_hook=default).decode())


def _quoted_event(_logger: object, _name: str, event: EventDict) -> EventDict:
    """The message itself; values are shown as Python writes them, which quotes them."""
    event["event"] = quoted_line(str(event.get("event", "")))
    return event


def _quoted_traceback(stream: TextIO, error: ExcInfo) -> None:
    """A traceback whose messages steer no terminal."""
    text = io.StringIO()
    structlog.dev.plain_traceback(text, error)
    stream.write(quoted(text.getvalue()))


def _install(handler: logging.Handler, level: str) -> None:
    root = logging.getLogger()
    for former in [one for one in root.handlers if isinstance(one, _Handler)]:
        root.removeHandler(former)
    root.addHandler(handler)
    root.setLevel(level)


class LogLines:
    """Observer: tells a reader of the log what happens, in a bounded number of lines.

    Args:
        logger: A structlog logger.
        clock: Monotonic seconds.
        every_seconds: At most one progress line, and at most ten dead letters of a reason, in this time.
        progress: Whether there are progress lines; a live view makes them superfluous.
        received: Names of signals, appended as they come; taken out and told with the next outcome.
    """

    DEAD_LETTERS_TOLD = 10

    def __init__(
        self,
        logger: FilteringBoundLogger,
        clock: Callable[[], float],
        every_seconds: float = 10.0,
        *,
        progress: bool = True,
        received: deque[str] | None = None,
    ) -> None:
        self._logger = logger
        self._clock = clock
        self._every_seconds = every_seconds
        self._window_start = clock()
        self._learned: Learned | None = None
        self._learned_in_window = 0
        self._dead_letters_in_window: Counter[str] = Counter()
        self._expired: Counter[str] = Counter()
        self._changed: Counter[str] = Counter()
        self._sent_again = 0
        self._shows_progress = progress
        self._received: deque[str] = deque() if received is None else received
        self._checkpoint_asked = False
        self._lag: int | None = None
        self._connected = True
        self._restoring = False

    def __call__(self, outcome: Outcome) -> None:
        """Fold one outcome."""
        while self._received:
            self._signal(self._received.popleft())
        match outcome:
            case Learned():
                self._learned = outcome
                self._learned_in_window += len(outcome)
            case Turned():
                self._turned(outcome)
            case Refused():
                self._refused(outcome)
            case Expired():
                self._expired.update(tasks=outcome.tasks, halves=outcome.halves)
            case TaskChanged() if outcome.known:
                self._changed[outcome.change] += 1
            case Duplicate():
                self._sent_again += outcome.sent_again
            case Checkpointed():
                self._checkpointed(outcome)
            case Executing() if outcome.making:
                tell = self._logger.info if outcome.compiling_now else self._logger.debug
                tell("the learning waits for a step", step=outcome.making)
        if self._clock() - self._window_start >= self._every_seconds:
            self._end_window()

    def end(self) -> None:
        """Tell what is still to be told; nothing more happens."""
        self._tell_suppressed()

    def _signal(self, name: str) -> None:
        self._logger.info("signal received", signal=name, effect=SIGNAL_EFFECTS.get(name, "none"))
        self._checkpoint_asked = self._checkpoint_asked or name == "SIGUSR1"

    def _checkpointed(self, outcome: Checkpointed) -> None:
        if not outcome.ok:
            self._logger.error("checkpoint failed", seconds=outcome.seconds)
        elif self._checkpoint_asked:
            self._logger.info("checkpoint written", bytes=outcome.bytes, seconds=_rounded(outcome.seconds))
        self._checkpoint_asked = False

    def _turned(self, outcome: Turned) -> None:
        self._lag = sum(outcome.lag.values()) if outcome.lag else None
        if outcome.connected != self._connected:
            self._connected = outcome.connected
            if outcome.connected:
                self._logger.info("broker is back", topic=outcome.topic, lag_records=self._lag)
            else:
                cause = outcome.condition.cause or "no answer"
                self._logger.warning("no broker, trying again", topic=outcome.topic, cause=cause)
        if outcome.restoring != self._restoring:
            self._restoring = outcome.restoring
            self._logger.info("restore begins" if outcome.restoring else "restore done", topic=outcome.topic)

    def _refused(self, outcome: Refused) -> None:
        self._dead_letters_in_window[str(outcome.reason)] += 1
        if self._dead_letters_in_window[str(outcome.reason)] <= self.DEAD_LETTERS_TOLD:
            self._logger.warning(
                "dead letter",
                topic=outcome.topic,
                partition=outcome.partition,
                offset=outcome.offset,
                reason=str(outcome.reason),
                message=outcome.message,
            )

    def _end_window(self) -> None:
        now = self._clock()
        self._tell_suppressed()
        if self._learned is not None and self._learned_in_window and self._shows_progress:
            self._progress(self._learned, self._learned_in_window / (now - self._window_start))
        self._window_start = now
        self._learned_in_window = 0

    def _tell_suppressed(self) -> None:
        counts = {reason: n - self.DEAD_LETTERS_TOLD for reason, n in self._dead_letters_in_window.items()}
        more = {reason: count for reason, count in counts.items() if count > 0}
        if more:
            self._logger.warning(
                "more dead letters, not shown one by one", suppressed=sum(more.values()), by_reason=more
            )
        self._dead_letters_in_window.clear()
        if self._expired:
            self._logger.warning("examples dropped after waiting too long", **self._expired)
        self._expired.clear()
        if self._changed:
            self._logger.info("what is kept of tasks was changed by records", **self._changed)
        self._changed.clear()
        if self._sent_again:
            self._logger.info("events sent again, passed over by their ce_id", events=self._sent_again)
        self._sent_again = 0

    def _progress(self, learned: Learned, events_per_second: float) -> None:
        losses = learned.prequential
        self._logger.info(
            "learning",
            events=learned.events,
            events_per_second=round(events_per_second, 1),
            loss_meta=_rounded(losses.meta.mean),
            loss_adapted=_rounded(losses.adapted.mean),
            loss_memory=_rounded(losses.memory.mean),
            lag_records=self._lag,
        )


def _rounded(value: float) -> float:
    """To four significant digits."""
    return float(f"{value:.4g}")
