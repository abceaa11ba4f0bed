"""Answers to records without labels, in the encoding of the record that asked.

key      the task id
value    {"id"?, "y": T, "at", "events", "task_events"}
headers  content-type, streammeta.source: topic/partition/offset of the record that asked

A record of another form (`events.decoder`) is answered in JSON. Invariant: the bytes follow from the record
and the prediction alone.
"""

from typing import Any, Final

import msgspec

from streammeta.codec.envelope import CONTENT_TYPE, JSON, content_type_of
from streammeta.codec.writing import to_lists, to_map
from streammeta.errors import BadEvent
from streammeta.events import Array, Question, Record

SOURCE: Final = "streammeta.source"
"""The header that names the record which asked."""


def answer_to(
    record: Record, question: Question, y: Array, at: str, *, events: int, task_events: int
) -> Record:
    """The answer to what a record asks; topic and partition are left open.

    Args:
        record: The record.
        question: What was read from it.
        y: The prediction, finite.
        at: At which parameters it was made.
        events: Events that had been learned.
        task_events: Those of the task.
    """
    content_type = _content_type(record)
    plain: dict[str, Any] = {} if question.name is None else {"id": question.name}
    plain["y"] = to_lists(y) if content_type == JSON else to_map(y)
    plain |= {"at": at, "events": events, "task_events": task_events}
    encode = msgspec.json.encode if content_type == JSON else msgspec.msgpack.encode
    source = f"{record.topic}/{record.partition}/{record.offset}"
    headers = ((CONTENT_TYPE, content_type.encode()), (SOURCE, source.encode()))
    return Record("", -1, -1, -1, question.task.encode(), encode(plain), headers)


def _content_type(record: Record) -> str:
    try:
        return content_type_of(record)
    except BadEvent:
        return JSON
