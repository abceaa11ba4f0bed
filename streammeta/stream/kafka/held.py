"""What a log holds: the first offset and the end of each partition, asked with a consumer of its own.

A broker's answer to "latest" is not trusted: the embedded broker gives the base offset of the last batch. The
high watermark that comes with a fetch at that place is right everywhere, also where the topic is empty.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import structlog
from kafka import KafkaConsumer, TopicPartition, errors

from streammeta.errors import BrokerUnavailable, LostOffsets
from streammeta.stream.kafka.access import KafkaSettings, always, connected
from streammeta.stream.kafka.refusals import named

log = structlog.get_logger(__name__)

_PROBE = {
    "group_id": None,
    "auto_offset_reset": "none",
    "enable_auto_commit": False,
    "allow_auto_create_topics": False,
    "fetch_max_wait_ms": 50,
    "isolation_level": "read_uncommitted",
}
_REQUEST_MS = 5_000
_REMEDY = (
    'begin with a new state.dir, or set kafka.on_lost_offsets to "earliest" or "latest" to go on without '
    "these records."
)


class Held(NamedTuple):
    """Offsets `first` up to, not with, `end`; equal when the log is empty."""

    first: int
    end: int


def held(
    settings: KafkaSettings, partitions: Collection[int], keep_going: Callable[[], bool] = always
) -> dict[int, Held]:
    """What the topic holds now; takes about 0.2 s.

    Raises:
        BrokerUnavailable: no answer within `connect_timeout_seconds`.
        BrokerRefused, ConfigError: as `connect`.
    """
    wanted = {TopicPartition(settings.topic, number): number for number in partitions}
    deadline = time.monotonic() + settings.connect_timeout_seconds
    with connected(KafkaConsumer, settings, keep_going, _PROBE) as consumer:
        while wanted and keep_going():
            try:
                return _look(consumer, wanted, deadline)
            except errors.KafkaError as error:
                if (known := named(error, settings)) is not None:
                    raise known from error
                if time.monotonic() > deadline:
                    raise BrokerUnavailable(_unanswered(settings, error)) from error
    if wanted:
        raise BrokerUnavailable(f"stopped while asking {settings.bootstrap_servers} for offsets")
    return {}


def _unanswered(settings: KafkaSettings, error: Exception) -> str:
    return f"{settings.bootstrap_servers} does not tell what topic {settings.topic!r} holds: {error}"


def _look(consumer: Any, wanted: dict[Any, int], deadline: float) -> dict[int, Held]:
    consumer.assign(list(wanted))
    firsts = consumer.beginning_offsets(list(wanted), timeout_ms=_REQUEST_MS)
    for place, offset in consumer.end_offsets(list(wanted), timeout_ms=_REQUEST_MS).items():
        consumer.seek(place, offset)
    while unknown := [place for place in wanted if consumer.highwater(place) is None]:
        if time.monotonic() > deadline:
            raise errors.KafkaTimeoutError(f"no fetch answered for {unknown}")
        consumer.poll(timeout_ms=100)  # records that the probe meets are dropped
    return {number: Held(firsts[place], consumer.highwater(place)) for place, number in wanted.items()}


def going_on(settings: KafkaSettings, partition: int, wanted: int, now: Held) -> int:
    """`wanted` if the log holds it or ends there, else what `kafka.on_lost_offsets` says.

    Raises:
        LostOffsets: it says "fail".
    """
    if now.first <= wanted <= now.end:
        return wanted
    if settings.on_lost_offsets == "fail":
        raise LostOffsets(_lost(settings.topic, partition, wanted, now))
    offset = now.first if settings.on_lost_offsets == "earliest" else now.end
    log.warning("offsets lost", topic=settings.topic, partition=partition, wanted=wanted, going_on_at=offset)
    return offset


def going_on_anew(settings: KafkaSettings, was: str, now: str, holds: Mapping[int, Held]) -> dict[int, int]:
    """Where every partition begins when the topic `was` has been replaced by the topic `now`.

    Raises:
        LostOffsets: `kafka.on_lost_offsets` says "fail".
    """
    if settings.on_lost_offsets == "fail":
        raise LostOffsets(
            f"topic {settings.topic!r} was re-created: the state was made with topic id {was}, now its id is "
            f"{now}, and the same offsets hold other records. Restore the topic, {_REMEDY}"
        )
    earliest = settings.on_lost_offsets == "earliest"
    begin = {partition: now_held.first if earliest else now_held.end for partition, now_held in holds.items()}
    log.warning("topic re-created", topic=settings.topic, was=was, now=now, going_on_at=begin)
    return begin


def _lost(topic: str, partition: int, wanted: int, now: Held) -> str:
    log_holds = f"holds offsets {now.first} up to {now.end}" if now.end >= 0 else "lacks this partition"
    expired = "they expired or were deleted"
    replaced = "the log was truncated, or the topic was re-created"
    return (
        f"topic {topic!r} partition {partition}: offset {wanted} is needed next, but the log {log_holds} "
        f"({expired if wanted < now.first else replaced}). Restore the log, {_REMEDY}"
    )
