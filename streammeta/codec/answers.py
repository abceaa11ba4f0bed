"""Answers to records without labels, in the encoding of the record that asked.

key      the task id
value    {"id"?, "y": T, "at", "events", "task_events"}
headers  content-type, streammeta.source: topic/partition/offset of the record that asked

Invariant: the bytes follow from the record and the prediction alone.
"""

from typing import Any, Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from streammeta.codec.envelope import CONTENT_TYPE, JSON, MSGPACK, content_type_of
from streammeta.codec.writing import to_lists, to_map
from streammeta.events import Array, Record

SOURCE: Final = "streammeta.source"
"""The header that names the record which asked."""


class _Named(msgspec.Struct):
    id: Raw | UnsetType = UNSET


_NAMED: Final = {
    JSON: msgspec.json.Decoder(_Named).decode,
    MSGPACK: msgspec.msgpack.Decoder(_Named).decode,
}


def answer_to(record: Record, y: Array, at: str, *, events: int, task_events: int) -> Record:
    """The answer to a record that was read and asked; topic and partition are left open.

    Args:
        record: The record.
        y: The prediction, finite.
        at: At which parameters it was made.
        events: Events that had been learned.
        task_events: Those of the task.
    """
    content_type = content_type_of(record)
    name = _NAMED[content_type](record.value or b"").id
    plain: dict[str, Any] = {} if name is UNSET else {"id": name}
    plain["y"] = to_lists(y) if content_type == JSON else to_map(y)
    plain |= {"at": at, "events": events, "task_events": task_events}
    encode = msgspec.json.encode if content_type == JSON else msgspec.msgpack.encode
    source = f"{record.topic}/{record.partition}/{record.offset}"
    headers = ((CONTENT_TYPE, content_type.encode()), (SOURCE, source.encode()))
    return Record("", -1, -1, -1, record.key, encode(plain), headers)
