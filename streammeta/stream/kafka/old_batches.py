"""Batches of brokers older than Kafka 0.11 (message formats 0 and 1), bounded like those of today."""

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

from kafka import errors
from kafka.record.legacy_records import LegacyRecordBatch

from streammeta.errors import Reason
from streammeta.events import Flaw
from streammeta.stream.kafka.expansion import Damaged, expand

_LEAST_BYTES: Final = 14
"""Of a message behind its length: checksum, magic, attributes, two lengths."""


class OldBatch:
    """One message, or the messages in a compressed one, as `Fetcher.PartitionRecords` uses it."""

    def __init__(
        self, batch: Any, fetch_offset: int, limit_bytes: int, flawed: Callable[[int, Flaw], Any]
    ) -> None:
        self._sound = batch.validate_crc()
        self._batch, self._limit_bytes, self._flawed = batch, limit_bytes, flawed
        self.magic, self.base_offset = batch.magic, batch.base_offset
        self._at = max(fetch_offset, batch.base_offset)

    def validate_crc(self) -> bool:
        """A wrong checksum is told by a record."""
        return True

    def __iter__(self) -> Iterator[Any]:
        """The records, and in the end the flaw that hides the others, if there is one."""
        if not self._sound:
            yield self._rest(Reason.UNDECODABLE, "its checksum is wrong", damaged=True)
            return
        bounded = _Bounded(self._batch._buffer, self.magic)
        bounded.limit_bytes = self._limit_bytes
        try:
            for record in bounded:
                if not record.validate_crc():
                    raise Damaged("a message in it has a wrong checksum")
                yield record
        except _TooLarge:
            why = f"it expands beyond kafka.max_batch_bytes = {self._limit_bytes}; raise it or send less"
            yield self._rest(Reason.TOO_LARGE, why)
        except (errors.KafkaError, AssertionError, ValueError, LookupError, struct.error) as error:
            yield self._rest(Reason.UNDECODABLE, f"it cannot be read: {error}")

    def _rest(self, reason: Reason, why: str, *, damaged: bool = False) -> Any:
        message = f"the batch up to offset {self._at}: {why}"
        return self._flawed(self._at, Flaw(reason, message, self._at + 1, damaged=damaged))


class _TooLarge(ValueError):
    """It expands beyond the limit."""


class _Bounded(LegacyRecordBatch):  # type: ignore[misc]  # kafka-python ships no types
    limit_bytes = 0

    def _decompress(self, key_offset: int) -> bytes:
        _, value = self._read_key_value(key_offset)
        if value is None:
            raise Damaged("a compressed message without content")
        if self._magic == 0 and self.compression_type == self.CODEC_LZ4:
            raise Damaged("lz4 of Kafka before 0.10 is not read")
        content, whole = expand(self.compression_type, value, self.limit_bytes)
        if not whole:
            raise _TooLarge
        return bytes(content)

    def _read_all_headers(self) -> list[Any]:
        headers, at = [], 0
        while at < len(self._buffer):
            header = self._read_header(at)
            if header[1] < _LEAST_BYTES:
                raise Damaged(f"a message of {header[1]} bytes")
            headers.append((header, at))
            at += self.LOG_OVERHEAD + header[1]
        return headers
