"""Batches as a broker sends them, and what is read from them."""

import struct
from collections.abc import Sequence

from kafka import TopicPartition
from kafka.consumer.fetcher import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder
from kafka.record.util import calc_crc32c

from streammeta.events import Record
from streammeta.stream.kafka.batches import PartitionRecords
from streammeta.stream.kafka.reader import record_of

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
LIMIT_BYTES = 1 << 20
_CRC_AT, _SUMMED_FROM = 17, 21


def batch(values: Sequence[bytes], codec: str = "none", offset: int = 0, magic: int = 2) -> bytearray:
    """One batch of records from `offset` on, with the keys k0, k1 and so on."""
    builder = MemoryRecordsBuilder(magic, CODECS[codec], 1 << 30, 0)
    for number, value in enumerate(values):
        headers = [("h", b"x")] if magic == 2 else None
        assert builder.append(1_000 + number, b"k%d" % number, value, headers) is not None
    builder.close()
    content = bytearray(builder.buffer())
    content[:8] = offset.to_bytes(8)
    return content


def signed(content: bytearray) -> bytearray:
    """The same batch with the checksum of what it holds: a producer's doing, not a disk's."""
    content[_CRC_AT:_SUMMED_FROM] = struct.pack(">I", calc_crc32c(memoryview(content)[_SUMMED_FROM:]))
    return content


class Limited(PartitionRecords):
    """As a consumer reads."""

    limit = LIMIT_BYTES


def read(content: bytes | bytearray, offset: int = 0) -> tuple[list[Record], int]:
    """The records of a fetch at `offset`, and where the next fetch begins."""
    records = MemoryRecords(bytearray(content))
    fetched = Limited(offset, TopicPartition("t", 0), records, isolation_level=IsolationLevel.READ_COMMITTED)
    found: list[Record] = []
    while fetched:
        found += [record_of(raw) for raw in fetched.take(7)]
    return found, fetched.next_fetch_offset
