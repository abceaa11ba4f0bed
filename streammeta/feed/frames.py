"""The feed on the disk: segments of frames, each with its sum.

    segment-00000000  = 16 bytes of magic, frames
    frame             = u32 body bytes, u32 crc32 of the body, body (MessagePack, an array with its kind)

The first frame of a segment is its `Base`. Invariant: a segment is never written to again once the next one
exists. A tail that is not whole yet, or that a crash has torn, is no frame: readers wait before it, the
writer drops it when it opens.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from streammeta.errors import StateError
from streammeta.events import Flaw, Record

MAGIC: Final = b"streammeta feed\0"
_HEAD = struct.Struct("<II")
_PREFIX: Final = "segment-"
MOST_BYTES: Final = 1 << 30
"""Of a frame: more is damage."""

Row = tuple[int, int, int, bytes | None, bytes | None, tuple[tuple[bytes, bytes | None], ...], Flaw | None]
"""Partition, offset, timestamp, key, value, headers (their keys as bytes), flaw."""


class Base(msgspec.Struct, tag="base", array_like=True, frozen=True):
    """Where a segment begins: the positions before its first record, in the topic of this id.

    `moved`: the learner went there from elsewhere, for the topic was made anew or its log was cut.
    """

    positions: dict[int, int]
    topic_id: str
    moved: bool


class Rows(msgspec.Struct, tag="rows", array_like=True, frozen=True):
    """Records, in the order in which they were applied."""

    rows: tuple[Row, ...]


class Past(msgspec.Struct, tag="past", array_like=True, frozen=True):
    """Positions that the learner went on to without a record: markers, gaps."""

    positions: dict[int, int]


Item = Base | Rows | Past
_DECODER = msgspec.msgpack.Decoder(Item)
_ENCODER = msgspec.msgpack.Encoder()


def row_of(record: Record) -> Row:
    """The record without its topic; header keys that are not UTF-8 stay as they came."""
    headers = tuple((key.encode("utf-8", "surrogateescape"), value) for key, value in record.headers)
    return (
        record.partition,
        record.offset,
        record.timestamp_ms,
        record.key,
        record.value,
        headers,
        record.flaw,
    )


def records_of(rows: Sequence[Row], topic: str) -> list[Record]:
    """As they were."""
    return [
        Record(
            topic,
            partition,
            offset,
            timestamp_ms,
            key,
            value,
            tuple((name.decode("utf-8", "surrogateescape"), held) for name, held in headers),
            flaw,
        )
        for partition, offset, timestamp_ms, key, value, headers, flaw in rows
    ]


def frame_of(item: Item) -> bytes:
    """The item as a frame."""
    body = _ENCODER.encode(item)
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def next_item(content: bytes | bytearray, place: int) -> tuple[Item, int] | None:
    """The item whose frame begins there, and where the next one does; None where none is whole."""
    if place + _HEAD.size > len(content):
        return None
    size, crc = _HEAD.unpack_from(content, place)
    begin = place + _HEAD.size
    if size > MOST_BYTES or begin + size > len(content):
        return None
    body = bytes(content[begin : begin + size])
    if zlib.crc32(body) != crc:
        return None
    try:
        return _DECODER.decode(body), begin + size
    except msgspec.MsgspecError as error:
        raise StateError(f"a feed is damaged, or of another version of streammeta: {error}") from error


def items_of(content: bytes) -> Iterator[tuple[Item, int]]:
    """The whole frames of a segment, each with its end, up to the first that is torn."""
    place = len(MAGIC)
    while (found := next_item(content, place)) is not None:
        yield found
        place = found[1]


def segment_path(directory: Path, number: int) -> Path:
    """Where the segment of this number is."""
    return directory / f"{_PREFIX}{number:08d}"


def segments(directory: Path) -> list[int]:
    """The numbers of the segments there, in order."""
    found = (path.name.removeprefix(_PREFIX) for path in directory.glob(f"{_PREFIX}*"))
    return sorted(int(number) for number in found if number.isascii() and number.isdigit())
