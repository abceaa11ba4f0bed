"""Records of another form than the contract's, read by a function of the user's.

What it returns is written as the contract has it, then read as every record is: values are checked in one
place. Costs about 20 µs beside the function itself.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np

from streammeta.codec.envelope import CONTENT_TYPE, MSGPACK, TIME
from streammeta.codec.tensors import bad_tensor
from streammeta.codec.writing import to_map
from streammeta.errors import BadEvent, Reason
from streammeta.events import Record

Read = Callable[[Record], Mapping[str, Any] | None]
"""A record -> {"task"?, "time"?, "id"?, "x", "y"}, or with "support" and "query" in place of x and y."""

_SETS = ("support", "query")


def translated(record: Record, read: Read, name: str, max_bytes: int) -> Record:
    """The record as the contract has it; a tombstone is left as it is.

    Args:
        record: As Kafka gave it.
        read: Returns what the record holds: arrays, or nested lists of numbers; `task` where the key is not
            the task's id; `time`, an aware `datetime` or RFC 3339, where it is not the record's. None where
            it holds nothing to learn from.
        name: Of that function, for people.
        max_bytes: The largest value that is handed to it.

    Raises:
        BadEvent: it raised, or returned something else.
    """
    if record.value is None or len(record.value) > max_bytes or record.flaw is not None:
        return record
    try:
        content = read(record)
    except MemoryError:
        raise
    except Exception as error:
        raise BadEvent(Reason.UNDECODABLE, f"{name}: {type(error).__name__}: {str(error)[:200]}") from error
    if not isinstance(content, Mapping):
        told = "nothing to learn from" if content is None else f"a {type(content).__name__}, not a mapping"
        raise BadEvent(Reason.UNDECODABLE, f"{name} returned {told}")
    headers = [(key, value) for key, value in record.headers if str(key).lower() != CONTENT_TYPE]
    if "time" in content:
        headers = [(key, value) for key, value in headers if str(key).lower() != TIME]
        headers.append((TIME, _time(content["time"]).encode()))
    key = str(content["task"]).encode() if "task" in content else record.key
    return record._replace(
        key=key, value=_value(content), headers=(*headers, (CONTENT_TYPE, MSGPACK.encode()))
    )


def _time(moment: Any) -> str:
    return moment.isoformat() if hasattr(moment, "isoformat") else str(moment)


def _value(content: Mapping[str, Any]) -> bytes:
    body: dict[str, Any] = {part: _set(content[part], f"{part}.") for part in _SETS if part in content}
    body |= _set(content, "")
    if "id" in content:
        body["id"] = content["id"] if isinstance(content["id"], int) else str(content["id"])
    return msgspec.msgpack.encode(body)


def _set(content: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise BadEvent(Reason.UNDECODABLE, f'{prefix.rstrip(".")}: expected {{"x": T, "y": T}}')
    return {part: _tensor(content[part], prefix + part) for part in ("x", "y") if part in content}


def _tensor(numbers: Any, field: str) -> dict[str, Any]:
    try:
        return to_map(np.asarray(numbers))
    except (ValueError, TypeError, OverflowError) as error:
        raise bad_tensor(field, f"not numbers in equal rows: {str(error)[:200]}") from error
