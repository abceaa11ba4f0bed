"""The newest records of a topic: assigned, sought and read once, without a group and without a commit."""

import heapq
import time
from collections.abc import Callable, Mapping
from typing import Final

from streammeta.events import Record
from streammeta.stream.kafka.access import KafkaSettings, always
from streammeta.stream.kafka.held import Held
from streammeta.stream.kafka.reader import Reader
from streammeta.stream.kafka.silence import Silence

_POLL_SECONDS: Final = 0.2
_POLL_RECORDS: Final = 500
_SILENCE_SECONDS: Final = 3.0
"""How long nothing may come: an open transaction, or what compaction removed, is not waited for."""


def newest(
    settings: KafkaSettings,
    holds: Mapping[int, Held],
    count: int,
    keep_going: Callable[[], bool] = always,
) -> list[Record]:
    """Up to `count` records from the ends of the partitions, by timestamp, each partition in its order.

    Fewer come where the topic holds fewer, or offsets that are no records; then it ends after some seconds
    in which nothing came, at the latest after `connect_timeout_seconds`.

    Args:
        settings: The `[kafka]` section.
        holds: What the partitions hold.
        count: How many at most.
        keep_going: Asked while waiting; False ends it.

    Raises:
        BrokerUnavailable, BrokerRefused, ConfigError: as `connect`.
    """
    shares = _shares({partition: log.end - log.first for partition, log in holds.items()}, count)
    begin = {partition: holds[partition].end - share for partition, share in sorted(shares.items()) if share}
    if not begin:
        return []
    reader = Reader(settings, Silence(), keep_going)
    try:
        reader.assign(begin)
        found = _read(reader, {p: holds[p].end for p in begin}, settings.connect_timeout_seconds, keep_going)
    finally:
        reader.close()
    return list(heapq.merge(*found.values(), key=lambda record: record.timestamp_ms))


def _read(
    reader: Reader, ends: Mapping[int, int], patience_seconds: float, keep_going: Callable[[], bool]
) -> dict[int, list[Record]]:
    """By partition, those before `ends`."""
    found: dict[int, list[Record]] = {partition: [] for partition in ends}
    now = time.monotonic()
    deadline, quiet_at = now + patience_seconds, now + max(_SILENCE_SECONDS, patience_seconds / 2)
    while keep_going() and now < min(deadline, quiet_at) and not _reached(reader, ends):
        records = reader.read(_POLL_SECONDS, _POLL_RECORDS)
        now = time.monotonic()
        quiet_at = now + _SILENCE_SECONDS if records else quiet_at
        for record in records:
            if record.offset < ends[record.partition]:
                found[record.partition].append(record)
    return found


def _reached(reader: Reader, ends: Mapping[int, int]) -> bool:
    positions = reader.positions()
    return all(positions[partition] >= end for partition, end in ends.items())


def _shares(sizes: Mapping[int, int], count: int) -> dict[int, int]:
    """`count` dealt to the partitions in equal shares; what one does not hold goes to the others.

    >>> _shares({0: 100, 1: 2, 2: 0, 3: 50}, 10)
    {2: 0, 1: 2, 3: 4, 0: 4}
    """
    shares = {}
    smallest_first = sorted(sizes, key=lambda partition: (sizes[partition], -partition))
    for left, partition in zip(range(len(sizes), 0, -1), smallest_first, strict=True):
        shares[partition] = min(sizes[partition], -(-count // left))
        count -= shares[partition]
    return shares
