"""Why rows were passed by, kept beside them: a replay passes the same rows for the same reasons.

Rows alone do not tell: a value that could not be had, a step that ran out of memory that once. A flaw names
the record that it belongs to, so that one that was written down and then lost its row to a crash hits no
other.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any, Final

import msgspec

from streammeta.errors import RecordingError
from streammeta.events import Flaw, Record

KEY: Final = b"streammeta.flaws"
"""Key of a part's metadata."""


class RowFlaw(msgspec.Struct, frozen=True, array_like=True):
    """The flaw of the record at this partition and offset."""

    partition: int
    offset: int
    flaw: Flaw


Flaws = Mapping[int, RowFlaw]
"""Row of the recording -> its flaw."""
_DECODER: msgspec.json.Decoder[dict[int, RowFlaw]] = msgspec.json.Decoder(dict[int, RowFlaw])


def of_records(records: Sequence[Record], first_row: int) -> dict[int, RowFlaw]:
    """The flaws of records that become the rows from `first_row` on."""
    return {
        row: RowFlaw(record.partition, record.offset, record.flaw)
        for row, record in zip(count(first_row), records, strict=False)
        if record.flaw is not None
    }


def pack(flaws: Flaws) -> bytes:
    """As bytes."""
    return msgspec.json.encode(dict(flaws))


def unpack(content: bytes) -> Flaws:
    """From bytes.

    Raises:
        RecordingError: they are no flaws.
    """
    try:
        return _DECODER.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise RecordingError(f"the list of records that were passed is damaged: {error}") from error


def with_flaws(records: Sequence[Record], rows: Sequence[int], flaws: Flaws) -> list[Record]:
    """The records of these rows, each with its flaw."""
    return list(_with_flaws(records, rows, flaws))


def _with_flaws(records: Sequence[Record], rows: Sequence[int], flaws: Flaws) -> Iterator[Record]:
    for row, record in zip(rows, records, strict=True):
        found: Any = flaws.get(row)
        if found is not None and (found.partition, found.offset) == (record.partition, record.offset):
            yield record._replace(flaw=found.flaw)
        else:
            yield record
