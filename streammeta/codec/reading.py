"""The envelope of a record: task id, size, content type, event time, and the four tensors of an episode.

Everything here is pure. Checks run from cheap to dear: key, size, content type, structure, tensors, shapes.
"""

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw

from streammeta.codec.tensors import from_json, from_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Episode, Record, TaskEvent, episode_of

CONTENT_TYPE = "content-type"
"""The header that names the encoding of the value; JSON where it is absent."""
TIME = "ce_time"
"""The header with the event time, RFC 3339 (CloudEvents, binary mode)."""
JSON = "application/json"
MSGPACK = "application/msgpack"

MAX_TASK_BYTES = 256
_EXPECTED = 'expected {"support": {"x": T, "y": T}, "query": {"x": T, "y": T}}'
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class _Set(msgspec.Struct):
    x: Raw
    y: Raw


class _Body(msgspec.Struct):
    support: _Set
    query: _Set


_TensorReader = Callable[[Raw, str], Array]
_FORMATS: dict[str, tuple[Callable[[bytes], _Body], _TensorReader]] = {
    JSON: (msgspec.json.Decoder(_Body).decode, from_json),
    MSGPACK: (msgspec.msgpack.Decoder(_Body).decode, from_msgpack),
}


def decode(record: Record, *, max_bytes: int, max_examples: int = 10_000) -> TaskEvent:
    """The task event that `record` carries; arrays of MessagePack are read-only views into its value.

    Costs about 10 µs in MessagePack and 25 µs in JSON for ten and ten small examples.

    Args:
        record: As Kafka gave it.
        max_bytes: The largest value that is looked into.
        max_examples: The largest set: a small value can ask for gigabytes of activations.

    Raises:
        BadEvent: the record cannot be used; the only exception, whatever the bytes.
    """
    task = _task(record.key)
    value = _value(record.value, max_bytes)
    headers = {_header(name): content for name, content in record.headers}
    content_type = _content_type(headers.get(CONTENT_TYPE))
    episode = _episode(value, content_type)
    _check_sizes(episode, max_examples)
    return TaskEvent(task, episode, _time_ms(headers, record.timestamp_ms))


def _task(key: bytes | None) -> str:
    if key is None:
        raise BadEvent(Reason.MISSING_TASK_ID, "the record has no key; the key is the task id")
    if not 1 <= len(key) <= MAX_TASK_BYTES:
        raise BadEvent(
            Reason.BAD_TASK_ID, f"the key has {len(key)} bytes; a task id has 1 to {MAX_TASK_BYTES}"
        )
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise BadEvent(Reason.BAD_TASK_ID, f"the key is not UTF-8 (byte {error.start})") from error


def _value(value: bytes | None, max_bytes: int) -> bytes:
    if value is None:
        raise BadEvent(Reason.UNDECODABLE, f"the record has no value; {_EXPECTED}")
    if len(value) > max_bytes:
        message = f"a value of {len(value)} bytes; kafka.max_event_bytes = {max_bytes}, raise it or send less"
        raise BadEvent(Reason.TOO_LARGE, message)
    return value


def _header(name: str) -> str:
    """The name in lower case; one that was no text came with lone surrogates in place of its bytes."""
    try:
        str.encode(name)  # not `name.encode`: a name that Kafka gave encodes back to any bytes
    except UnicodeEncodeError as error:
        raise BadEvent(Reason.UNDECODABLE, f"a header key is not UTF-8: {str(name)!r}") from error
    return name.lower()


def _content_type(header: bytes | None) -> str:
    if header is None:
        return JSON
    name = header.partition(b";")[0].strip().lower().decode("ascii", "backslashreplace")
    if name not in _FORMATS:
        raise BadEvent(
            Reason.UNSUPPORTED_CONTENT_TYPE, f"content-type {name[:60]!r}; use one of {', '.join(_FORMATS)}"
        )
    return name


def _episode(value: bytes, content_type: str) -> Episode[Array]:
    parse, tensor = _FORMATS[content_type]
    try:
        body = parse(value)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _refusal_of(error, value, content_type) from error
    support, query = body.support, body.query
    return _checked(
        episode_of(
            tensor(support.x, "support.x"),
            tensor(support.y, "support.y"),
            tensor(query.x, "query.x"),
            tensor(query.y, "query.y"),
        )
    )


def _refusal_of(error: Exception, value: bytes, content_type: str) -> BadEvent:
    if content_type == JSON and _holds_constants(value):
        return BadEvent(Reason.NON_FINITE_INPUT, "the value holds NaN or Infinity; leave the event out")
    return BadEvent(Reason.UNDECODABLE, f"{content_type}: {str(error)[:200]}; {_EXPECTED}")


def _holds_constants(value: bytes) -> bool:
    """Whether the value is JSON but for NaN and Infinity, as lenient producers (Python's json) write them."""
    constants: list[str] = []
    try:
        json.loads(value.decode(), parse_constant=constants.append)
    except (ValueError, RecursionError):
        return False
    return bool(constants)


def _checked(episode: Episode[Array]) -> Episode[Array]:
    """The episode, when x and y agree in examples and support and query in the shape of one example."""
    (support_x, support_y), (query_x, query_y) = episode
    _same_count("support", support_x, support_y)
    _same_count("query", query_x, query_y)
    _same_example("x", support_x, query_x)
    _same_example("y", support_y, query_y)
    return episode


def _check_sizes(episode: Episode[Array], max_examples: int) -> None:
    largest = max(len(batch.x) for batch in episode)
    if largest > max_examples:
        message = f"a set of {largest} examples; events.max_examples = {max_examples}, raise it or send fewer"
        raise BadEvent(Reason.TOO_LARGE, message)


def _same_count(name: str, x: Array, y: Array) -> None:
    if x.shape[0] != y.shape[0]:
        raise BadEvent(Reason.SHAPE_MISMATCH, f"{name}: x has {x.shape[0]} examples, y has {y.shape[0]}")


def _same_example(name: str, support: Array, query: Array) -> None:
    one, other = support.shape[1:], query.shape[1:]
    if one != other:
        raise BadEvent(
            Reason.SHAPE_MISMATCH, f"an example of {name} has shape {one} in support, {other} in query"
        )


def _time_ms(headers: Mapping[str, bytes | None], fallback_ms: int) -> int:
    """Header `ce_time`; the record's own timestamp where that is absent or no time of the years 1 to 9999."""
    header = headers.get(TIME)
    if header is None:
        return fallback_ms
    try:
        moment = datetime.fromisoformat(header.decode().upper())
        if moment.tzinfo is None:
            return fallback_ms
        return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND
    except (ValueError, TypeError, OverflowError):
        return fallback_ms
