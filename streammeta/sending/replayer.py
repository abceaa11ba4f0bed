"""A recording back onto a topic: the same keys, values, headers, partitions and timestamps, at its own pace.

Exactly once, over any number of lives: rows go out in transactions together with the number of the row that
comes next. Readers with `isolation_level = read_committed` (streammeta's are) see each row once. The embedded
broker shows rows of transactions that a kill cut off, too: there some may be seen twice.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import structlog
from kafka import KafkaAdminClient

from streammeta.clock import Clock
from streammeta.errors import ConfigError
from streammeta.events import Record
from streammeta.recording.manifest import Span
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Selection
from streammeta.recording.times import Timing
from streammeta.sending.transactions import Target, Transactions
from streammeta.stream.kafka.access import connected
from streammeta.stream.kafka.topics import Administration

log = structlog.get_logger(__name__)

TRANSACTION_ROWS = 5_000
TRANSACTION_BYTES = 4 << 20
TRANSACTION_SECONDS = 0.2
"""How long a row may wait for its commit."""
_SLICE_SECONDS = 0.1
MOST_MS = 2**63 - 1
"""As Kafka writes that there is no bound."""


_KEEPS_ALL = {
    "retention.ms": "-1",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str(MOST_MS),
    "message.timestamp.after.max.ms": str(MOST_MS),
}


def sender_of(recording: Recording, selection: Selection, topic: str) -> str:
    """A name for the sending of these rows to this topic, and for no other."""
    tasks, without = sorted(map(bytes.hex, selection.tasks)), sorted(selection.without)
    wanted = [recording.id, topic, selection.begin, selection.end, tasks, without]
    return f"streammeta-replay-{hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:16]}"


@dataclass(frozen=True, slots=True)
class PutBack:
    """How far the rows are on the topic, for good.

    Attributes:
        topic: Its name.
        sent, bytes: Of this life.
        next_row: The row of the recording that comes next.
        left_out: Rows of this life whose content could not be had when they were recorded.
        done: Whether that was all.
        seconds: Since the start.
    """

    topic: str
    sent: int
    bytes: int
    next_row: int
    done: bool
    seconds: float
    left_out: int = 0


class Replayer:
    """Puts wanted rows on the target, each when it is due."""

    def __init__(self, target: Target, timing: Timing, keep_going: Callable[[], bool], clock: Clock) -> None:
        self._target, self._timing, self._keep_going, self._clock = target, timing, keep_going, clock
        self._transactions = Transactions(target, keep_going)
        self._began = self._committed_at = clock.monotonic()
        self._sent = self._bytes = 0
        self._next_row = self._left_out = 0

    def run(
        self,
        recording: Recording,
        selection: Selection,
        *,
        again: bool = False,
        tell: Callable[[PutBack], None] = lambda _: None,
    ) -> PutBack:
        """Send what was not sent yet (`again`: all), up to the end or a stop.

        Raises:
            RecordingError: a part cannot be used; the rows before it are on the topic.
            BrokerUnavailable, BrokerRefused, ConfigError: each with its remedy. Call it again to go on.
        """
        with self._transactions:
            self._next_row = 0 if again else self._transactions.place()
            for row, record in _rows(recording, selection, self._next_row, self._target.topic):
                if not self._wait(record.timestamp_ms):
                    break
                self._send(record)
                self._next_row = row + 1
                if self._is_due():
                    self._commit()
                    tell(self._so_far(done=False))
            else:
                self._next_row = recording.rows
            self._commit()
        return self._so_far(done=self._next_row == recording.rows)

    def _send(self, record: Record) -> None:
        if record.flaw is not None and record.flaw.stage == "read":
            self._left_out += 1
            log.warning(
                "row left out", partition=record.partition, offset=record.offset, why=record.flaw.message
            )
        else:
            self._transactions.send(record)

    def _wait(self, timestamp_ms: int) -> bool:
        """Wait until the row is due, and let none wait meanwhile; False when it shall not be sent."""
        while (left_seconds := self._timing.left_seconds(timestamp_ms)) > 0 and self._keep_going():
            if left_seconds > TRANSACTION_SECONDS:
                self._commit()
            time.sleep(min(left_seconds, _SLICE_SECONDS))
        return self._keep_going()

    def _is_due(self) -> bool:
        waiting = self._transactions
        return (
            waiting.open_rows >= TRANSACTION_ROWS
            or waiting.open_bytes >= TRANSACTION_BYTES
            or self._clock.monotonic() - self._committed_at >= TRANSACTION_SECONDS
        )

    def _commit(self) -> None:
        rows, size_bytes = self._transactions.open_rows, self._transactions.open_bytes
        self._transactions.commit(self._next_row)
        self._sent += rows
        self._bytes += size_bytes
        self._committed_at = self._clock.monotonic()

    def _so_far(self, *, done: bool) -> PutBack:
        seconds = self._clock.monotonic() - self._began
        return PutBack(
            self._target.topic, self._sent, self._bytes, self._next_row, done, seconds, self._left_out
        )


def prepare(target: Target, recording: Recording, keep_going: Callable[[], bool], clock: Clock) -> None:
    """See that the topic is there, with a partition for each recorded one; warn of what it would delete.

    Retention looks at the records' timestamps, which are as old as the recording: a topic that is made here
    keeps all (`retention.ms` -1), one that was there is left as it is.

    Raises:
        ConfigError: it has too few partitions, or refuses records of the recorded times.
        BrokerUnavailable, BrokerRefused: as `ensure`.
    """
    needed = 1 + max(recording.next, default=0)
    with connected(KafkaAdminClient, target.kafka, keep_going) as admin:
        administration = Administration(admin, target.kafka, keep_going)
        topic = administration.ensure(target.topic, needed, _KEEPS_ALL)
        if len(topic.partitions) < needed:
            raise ConfigError(
                f"--to-kafka {target.topic}: the topic has {len(topic.partitions)} partitions, the recording "
                f"{needed}; name a topic with as many, or one that does not exist"
            )
        retention_ms = administration.retention_ms(target.topic)
        configs = administration.configs(target.topic)
    times = recording.time_ms
    _check_times(target, configs, times, clock.now() * 1000)
    if retention_ms >= 0 and times is not None and times.first < clock.now() * 1000 - retention_ms:
        log.warning(
            "records are older than the topic keeps them, by their timestamps: it may delete them at once",
            topic=target.topic,
            retention_ms=retention_ms,
            remedy=f"kafka-configs --bootstrap-server {target.kafka.bootstrap_servers} --alter "
            f"--topic {target.topic} --add-config retention.ms=-1",
        )


def _check_times(target: Target, configs: Mapping[str, str], times: Span | None, now_ms: float) -> None:
    """Tell of a topic that writes times of its own; refuse one that refuses the recorded ones."""
    alter = (
        f"kafka-configs --bootstrap-server {target.kafka.bootstrap_servers} --alter --topic {target.topic}"
    )
    if configs.get("message.timestamp.type") == "LogAppendTime":
        log.warning(
            "the topic writes its own times: those of the recording are lost in it",
            topic=target.topic,
            setting="message.timestamp.type=LogAppendTime",
            remedy=f"{alter} --add-config message.timestamp.type=CreateTime",
        )
        return
    if times is None:
        return
    for side, distance_ms in (("before", now_ms - times.first), ("after", times.end - 1 - now_ms)):
        said = configs.get(name := f"message.timestamp.{side}.max.ms", "")
        if said.isdecimal() and distance_ms > int(said):
            raise ConfigError(
                f"--to-kafka {target.topic}: the topic refuses records whose time is more than {said} ms "
                f"{side} its own ({name}), and the recording has some; let it take them: "
                f"{alter} --add-config {name}={MOST_MS}"
            )


def _rows(
    recording: Recording, selection: Selection, first_row: int, topic: str
) -> Iterator[tuple[int, Record]]:
    """The wanted rows, as records of `topic`."""
    for chunk in recording.chunks(first_row, selection):
        yield from zip(chunk.rows, chunk.records(topic), strict=True)
