"""The wire format: a Kafka record becomes a task event or examples, and these become a record's value.

`envelope` holds key, headers and structure, `identity` the event's id, `reading` episodes, `examples` single
examples, `tensors` the arrays, `control` what changes a task, `writing` the way back, `answers` predictions.
Invariant: whatever bytes come in, the answer is a value or a `BadEvent` with a reason of the closed list.
"""

from streammeta.codec.answers import SOURCE, answer_to
from streammeta.codec.control import CONTROL, RELEASE, RESET, change_of, with_changes
from streammeta.codec.envelope import CONTENT_TYPE, JSON, MSGPACK, TIME
from streammeta.codec.examples import decode_examples
from streammeta.codec.identity import event_id
from streammeta.codec.reading import decode
from streammeta.codec.writing import encode_json, encode_msgpack

__all__ = [
    "CONTENT_TYPE",
    "CONTROL",
    "JSON",
    "MSGPACK",
    "RELEASE",
    "RESET",
    "SOURCE",
    "TIME",
    "answer_to",
    "change_of",
    "decode",
    "decode_examples",
    "encode_json",
    "encode_msgpack",
    "event_id",
    "with_changes",
]
