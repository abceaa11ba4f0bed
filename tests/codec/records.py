"""Records that the codec tests are made of."""

from collections.abc import Mapping
from typing import Any

import msgspec

from streammeta.codec import CONTENT_TYPE, MSGPACK, decode
from streammeta.events import Record, TaskEvent

MAX_BYTES = 1 << 16
GOOD = {"x": [[1.0], [2.0]], "y": [[0.5], [1.5]]}


def record(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"task-1") -> Record:
    """A record with a timestamp of 1,700 s."""
    return Record("tasks", 0, 7, 1_700_000, key, value, headers)


def read(value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"task-1") -> TaskEvent:
    """What the codec makes of such a record."""
    return decode(record(value, *headers, key=key), max_bytes=MAX_BYTES)


def read_msgpack(value: bytes) -> TaskEvent:
    """The same, of a value declared as MessagePack."""
    return read(value, (CONTENT_TYPE, MSGPACK.encode()))


def json_body(support: Any = GOOD, query: Any = GOOD, **more: Any) -> bytes:
    """A JSON value whose sets are given."""
    return msgspec.json.encode({"support": support, "query": query, **more})


def json_with(tensor: str, place: str = "support.x") -> bytes:
    """A JSON value, right but for one tensor, which is given as text."""
    outer, inner = place.split(".")
    body: dict[str, dict[str, Any]] = {"support": dict(GOOD), "query": dict(GOOD)}
    body[outer][inner] = msgspec.Raw(tensor.encode())
    return msgspec.json.encode(body)


def packed(dtype: str = "<f4", shape: Any = (2, 1), data: Any = b"\0" * 8) -> dict[str, Any]:
    """A tensor of MessagePack, by default two zeros."""
    return {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data": data}


def msgpack_body(x: Any, y: Mapping[str, Any] | None = None, query: Any = None) -> bytes:
    """A MessagePack value with the support tensor x given; the others are two zeros."""
    good = packed()
    support = {"x": x, "y": good if y is None else y}
    return msgspec.msgpack.encode({"support": support, "query": query or {"x": good, "y": good}})
