"""Batches of a fetch, read so that none can stop or exhaust the reader.

kafka-python expands a batch whole before anybody can look at its size, and after a batch with a wrong
checksum its next `poll` never returns. Here each batch gives its records up to the first that cannot be had,
and in the place of that one and of those behind it one record without content, whose `flaw` says why.

Invariant: whatever the bytes, offsets rise and the position after a batch lies behind it.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

from kafka import errors
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecord
from kafka.record.util import decode_varint

from streammeta.errors import Reason
from streammeta.events import Flaw
from streammeta.stream.kafka.expansion import Damaged, expand
from streammeta.stream.kafka.old_batches import OldBatch
from streammeta.stream.kafka.record_fields import field_at, headers_at

MAX_HEADERS: Final = 1_000
"""Headers of one record: each costs fifty times its bytes in memory."""
_NOTHING: Final = bytearray()
_KEY_BYTES = 1 << 16
_MOST_OFFSETS = 1 << 31


class FlawName(str):
    """In the place of a header's name: carries the flaw of a record that came without content."""

    __slots__ = ("flaw",)
    flaw: Flaw


def flaw_in(headers: Any) -> Flaw | None:
    """What a record of kafka-python carries of ours."""
    return headers[0][0].flaw if headers and type(headers[0][0]) is FlawName else None


def flawed(offset: int, flaw: Flaw, key: bytes | None = None, timestamp_ms: int = -1) -> DefaultRecord:
    """A record without content."""
    name = FlawName("")
    name.flaw = flaw
    return DefaultRecord(0, offset, timestamp_ms, 0, key, None, [(name, None)])


def bound(consumer: Any, limit_bytes: int) -> None:
    """Let a `KafkaConsumer` read batches with this limit."""

    class Bounded(PartitionRecords):
        limit = limit_bytes

    # The only place where the class of batches can be chosen.
    consumer._fetcher.PartitionRecords = Bounded


class PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """What a fetch brought of one partition; `limit`: bytes that one batch may expand to."""

    limit = 0

    def _unpack_records(self, place: Any, records: Any, *deserializers: Any) -> Any:
        batches = Batches(records, self.fetch_offset, self.limit)
        return super()._unpack_records(place, batches, *deserializers)


class Batches:
    """The batches of `MemoryRecords`, sound ones and those that are not."""

    def __init__(self, records: Any, fetch_offset: int, limit_bytes: int) -> None:
        self._records, self._from, self._limit_bytes = records, fetch_offset, limit_bytes
        self._ended = False

    def next_batch(self) -> Any:
        """The next one, None at the end."""
        if self._ended:
            return None
        try:
            batch = self._records.next_batch()
            if batch is None:
                return None
            if batch.magic != 2:
                return self._old(batch)
            sound = batch.validate_crc()
        except (errors.CorruptRecordError, AssertionError, struct.error) as error:
            self._ended = True  # where the next one begins is not known
            return Ruin(self._from, self._from + 1, f"its frame is damaged: {error}")
        first = max(self._from, batch.base_offset)
        if not sound:
            return self._ruin(first, self._agreed_end(batch), "its checksum is wrong")
        following = self._following()
        if batch.last_offset < self._from and following is not None and following <= self._from:
            return self.next_batch()  # it lies before what was asked for
        end = batch.last_offset + 1
        if end <= self._from or end < batch.base_offset + 1 or (following is not None and following < end):
            return self._ruin(self._from, self._from + 1, f"it says that it ends at offset {end}")
        self._from = end
        return Batch(batch, self._limit_bytes)

    def _old(self, batch: Any) -> Any:
        """One of an old format: the offset that it tells is its last, and not covered by its checksum."""
        end, following = batch.base_offset + 1, self._following()
        if end <= self._from and following is not None and following <= self._from:
            return self.next_batch()
        if end <= self._from or (following is not None and following < end):
            return self._ruin(self._from, self._from + 1, f"it says that it ends at offset {end}")
        first, self._from = self._from, end
        return OldBatch(batch, first, self._limit_bytes, flawed)

    def _ruin(self, first: int, end: int, why: str) -> "Ruin":
        """One that is passed up to the next one, where that is there, else up to `end`."""
        following = self._following()
        if following is not None:
            end = following if first < following < first + _MOST_OFFSETS else first + 1
            first = self._from if first >= end else first
        self._from = max(first + 1, end)
        return Ruin(first, self._from, why)

    def _following(self) -> int | None:
        """The offset at which the batch after this one begins."""
        frame = self._records._next_slice
        return int.from_bytes(frame[:8], signed=True) if frame is not None and len(frame) >= 8 else None

    def _agreed_end(self, batch: Any) -> int:
        """Where a batch ends whose header may lie: as two of its fields say, or after one offset."""
        agreed = 0 <= batch.last_offset_delta == batch.records_count - 1 < _MOST_OFFSETS
        return int(batch.base_offset + batch.records_count) if agreed else 0


class Batch:
    """A batch with the right checksum, as `Fetcher.PartitionRecords` uses it."""

    def __init__(self, batch: Any, limit_bytes: int) -> None:
        self._batch, self._limit_bytes = batch, limit_bytes
        self.magic = batch.magic
        self.leader_epoch = batch.leader_epoch
        self.base_offset, self.last_offset = batch.base_offset, batch.last_offset
        self.next_offset = max(batch.base_offset, batch.last_offset) + 1
        self.producer_id = batch.producer_id
        self.is_transactional = batch.is_transactional
        self.is_control_batch = batch.is_control_batch

    def validate_crc(self) -> bool:
        """It was."""
        return True

    def has_producer_id(self) -> bool:
        """Whether its producer is idempotent or transactional."""
        return bool(self._batch.has_producer_id())

    def __next__(self) -> Any:
        """The first record, of a control batch; None where it cannot be read."""
        try:
            return next(self._batch)
        except (errors.CorruptRecordError, StopIteration, ValueError, LookupError, struct.error):
            return None

    def __iter__(self) -> Iterator[DefaultRecord]:
        """The records, and in the end the flaw that hides the others, if there is one."""
        batch, offset = self._batch, self.base_offset
        try:
            buffer, at, whole = self._content()
        except Damaged as error:
            yield self._rest(offset, Reason.UNDECODABLE, f"its compression cannot be undone: {error}")
            return
        for _ in range(batch.records_count):
            try:
                record, following = self._record(buffer, at, offset)
            except (ValueError, IndexError) as error:
                if offset <= self.last_offset:
                    why = f"a record is malformed: {error}" if whole else self._too_large()
                    reason = Reason.UNDECODABLE if whole else Reason.TOO_LARGE
                    yield self._rest(offset, reason, why, _NOTHING if whole else buffer, at)
                return
            at, offset = following, record.offset + 1
            yield record

    def _content(self) -> tuple[bytearray, int, bool]:
        """What the records are read from, where they begin, and whether that is all."""
        batch = self._batch
        if not batch.compression_type:
            return batch._buffer, batch._pos, True
        data = bytes(memoryview(batch._buffer)[batch._pos :])
        content, whole = expand(batch.compression_type, data, self._limit_bytes)
        return content, 0, whole

    def _record(self, buffer: bytearray, at: int, least: int) -> tuple[DefaultRecord, int]:
        """The record at `at`, whose offset is `least` or more, and where the next one is.

        Raises:
            ValueError, IndexError: it is not whole, or no record.
        """
        batch = self._batch
        size_bytes, begin = decode_varint(buffer, at)
        end = begin + size_bytes
        if end > len(buffer):
            raise IndexError("it ends behind its batch")
        _, at = decode_varint(buffer, begin)
        later_ms, at = decode_varint(buffer, at)
        later, at = decode_varint(buffer, at)
        offset = batch.base_offset + later
        if not least <= offset <= self.last_offset:
            raise ValueError(f"offset {offset} is not one of its batch, or was before")
        key, at = field_at(buffer, at)
        value, at = field_at(buffer, at)
        count, at = decode_varint(buffer, at)
        kind = batch.timestamp_type
        time_ms = batch.max_timestamp if kind else batch.first_timestamp + later_ms
        if count > MAX_HEADERS:
            why = f"offset {offset}: a record has {count} headers; at most {MAX_HEADERS} are read"
            return flawed(offset, Flaw(Reason.TOO_LARGE, why, offset + 1), key, time_ms), end
        headers, at = headers_at(buffer, at, count)
        if at != end or count < 0:
            raise ValueError(f"{at - begin} bytes instead of {size_bytes}")
        return DefaultRecord(size_bytes, offset, time_ms, kind, key, value, headers), end

    def _rest(
        self, offset: int, reason: Reason, why: str, buffer: bytearray = _NOTHING, at: int = 0
    ) -> DefaultRecord:
        """In the place of the records from `offset` on."""
        key, offset = self._begun(buffer, at, offset)
        last = max(offset, self.last_offset)
        which = f"offset {offset}" if last == offset else f"offsets {offset} to {last}, one batch"
        flaw = Flaw(reason, f"{which}: {why}; the records are in the topic still", last + 1)
        return flawed(offset, flaw, key, self._batch.first_timestamp)

    def _begun(self, buffer: bytearray, at: int, offset: int) -> tuple[bytes | None, int]:
        """Key and offset of a record whose value is not at hand, as far as they are."""
        try:
            for _ in range(3):
                _, at = decode_varint(buffer, at)
            later, at = decode_varint(buffer, at)
            key, _ = field_at(buffer, at)
        except (ValueError, IndexError):
            return None, offset
        inside = offset <= self.base_offset + later <= self.last_offset
        return (
            key if key is None or len(key) <= _KEY_BYTES else None,
            self.base_offset + later if inside else offset,
        )

    def _too_large(self) -> str:
        return (
            f"what the batch expands to is larger than kafka.max_batch_bytes = {self._limit_bytes}; "
            "raise it or send smaller batches"
        )


class Ruin:
    """A batch that is not what was written: all that is used of one, and one record that says so."""

    magic = 2
    leader_epoch = -1
    producer_id = -1
    is_transactional = is_control_batch = False

    def __init__(self, first: int, end: int, why: str) -> None:
        self.base_offset, self.last_offset, self.next_offset = first, end - 1, end
        self._why = why

    def validate_crc(self) -> bool:
        """It has none that could be right."""
        return True

    def has_producer_id(self) -> bool:
        """What it says of its producer may be wrong."""
        return False

    def __iter__(self) -> Iterator[DefaultRecord]:
        """The one record."""
        offsets = (
            f"offset {self.base_offset}"
            if self.base_offset == self.last_offset
            else f"offsets {self.base_offset} to {self.last_offset}"
        )
        message = f"the batch at {offsets} is damaged: {self._why}"
        yield flawed(self.base_offset, Flaw(Reason.UNDECODABLE, message, self.next_offset, damaged=True))
