"""The wire format: a Kafka record becomes a task event, an episode becomes a record's value.

`reading` holds the envelope (key, headers, body), `tensors` the arrays, `writing` the way back. Invariant:
whatever bytes come in, the answer is a `TaskEvent` or a `BadEvent` with a reason of the closed list.
"""

from streammeta.codec.reading import CONTENT_TYPE, JSON, MSGPACK, TIME, decode
from streammeta.codec.writing import encode_json, encode_msgpack

__all__ = ["CONTENT_TYPE", "JSON", "MSGPACK", "TIME", "decode", "encode_json", "encode_msgpack"]
