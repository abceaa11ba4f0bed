"""Records as columns and back, bytes untouched.

Header names are bytes: Kafka says UTF-8, but no broker checks it. Nothing here loops over rows in Python
where Arrow or NumPy can do it.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise, repeat
from typing import Any

import numpy as np
import pyarrow as pa

from streammeta.events import Array, Record
from streammeta.recording.manifest import Span

_HEADER = pa.struct([pa.field("name", pa.binary(), nullable=False), pa.field("value", pa.binary())])
SCHEMA = pa.schema(
    [
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
        pa.field("headers", pa.list_(pa.field("element", _HEADER, nullable=False)), nullable=False),
    ]
)
"""One row per record: contract, section 7."""


def batch_of(records: Sequence[Record]) -> Any:
    """A `pyarrow.RecordBatch`; the records' topic is not kept."""
    columns = [
        pa.array([record.partition for record in records], pa.int32()),
        pa.array([record.offset for record in records], pa.int64()),
        pa.array([record.timestamp_ms for record in records], pa.int64()),
        pa.array([record.key for record in records], pa.binary()),
        pa.array([record.value for record in records], pa.binary()),
        _headers_of(records),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _headers_of(records: Sequence[Record]) -> Any:
    ends = np.cumsum([len(record.headers) for record in records], dtype=np.int32)
    flat = [header for record in records for header in record.headers]
    names = pa.array([name.encode("utf-8", "surrogateescape") for name, _ in flat], pa.binary())
    values = pa.array([value for _, value in flat], pa.binary())
    structs = pa.StructArray.from_arrays([names, values], fields=list(_HEADER))
    offsets = pa.array(np.concatenate([np.zeros(1, np.int32), ends]))
    return pa.ListArray.from_arrays(offsets, structs, type=SCHEMA.field("headers").type)


def records_of(batch: Any, topic: str) -> list[Record]:
    """The records of a batch, in its order."""
    partitions, offsets, timestamps, keys, values = (batch.column(i).to_pylist() for i in range(5))
    headers = _headers(batch.column(5))
    return list(map(Record, repeat(topic), partitions, offsets, timestamps, keys, values, headers))


def _headers(column: Any) -> Iterable[tuple[tuple[str, bytes | None], ...]]:
    """The headers of each row; equal names and values become one object."""
    flat = column.flatten()
    if not len(flat):
        return repeat(())
    texts: dict[bytes, str] = {}
    pairs = list(zip(flat.field(0).to_pylist(), flat.field(1).to_pylist(), strict=True))
    known = {pair: (_text(pair[0], texts), pair[1]) for pair in set(pairs)}
    ends = column.offsets.to_numpy()
    return [tuple(map(known.__getitem__, pairs[i:j])) for i, j in pairwise((ends - ends[0]).tolist())]


def _text(name: bytes, texts: dict[bytes, str]) -> str:
    """Bytes that are not UTF-8 become lone surrogates, as the Kafka source gives them."""
    return texts.setdefault(name, name.decode("utf-8", "surrogateescape"))


def positions_in(batch: Any) -> tuple[Array, Array]:
    """Partition and offset of each row."""
    return batch.column(0).to_numpy(), batch.column(1).to_numpy()


class Tally:
    """What is in a stretch of rows: ranges, positions after it, and how often offsets went back.

    Args:
        following: The positions before it.
    """

    def __init__(self, following: Mapping[int, int]) -> None:
        self.rows = 0
        self.data_bytes = 0
        self.next = dict(following)
        self.offsets: dict[int, Span] = {}
        self.time_ms: Span | None = None
        self.rewinds = 0

    def add(self, batch: Any) -> None:
        """Count further rows; at least one."""
        partitions, offsets = positions_in(batch)
        for partition in np.unique(partitions).tolist():
            self._add_partition(partition, offsets[partitions == partition])
        times = batch.column(2).to_numpy()
        times = times[times >= 0]  # -1 is no time
        if len(times):
            span = Span(int(times.min()), int(times.max()) + 1)
            self.time_ms = (self.time_ms or span).with_span(span)
        self.rows += batch.num_rows
        self.data_bytes += batch.nbytes

    def _add_partition(self, partition: int, offsets: Array) -> None:
        span = Span(int(offsets.min()), int(offsets.max()) + 1)
        self.offsets[partition] = self.offsets.get(partition, span).with_span(span)
        back = int((np.diff(offsets) <= 0).sum())
        self.rewinds += back + (int(offsets[0]) < self.next.get(partition, int(offsets[0])))
        self.next[partition] = int(offsets[-1]) + 1
