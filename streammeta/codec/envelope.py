"""The envelope of a record: task id, size, content type, event time, and the body's structure.

Everything here is pure. What a body holds is read by `reading` (episodes) and `examples` (labelled examples).
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from streammeta.codec.tensors import from_json, from_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Record
from streammeta.wording import counted

CONTENT_TYPE = "content-type"
"""The header that names the encoding of the value; JSON where it is absent."""
TIME = "ce_time"
"""The header with the event time, RFC 3339 (CloudEvents, binary mode)."""
JSON = "application/json"
MSGPACK = "application/msgpack"

NO_VALUE = 'a tombstone: its task is forgotten where events.tombstones = "forget"'
"""What a record without a value is, where it is refused."""
UNANSWERED = (
    "a record without labels asks for a prediction, which is answered where predict.output_topic is set"
)
"""Why it is refused, where that is not set."""
MAX_TASK_BYTES = 256
MAX_ID_BYTES = 256
_FRAME_BYTES = 5
_FRAMED = (
    "the value begins as a schema registry frames Avro, Protobuf or JSON: name a function that reads it, "
    'events.decoder = "package.module:callable"'
)
_MALFORMED = re.compile(r"malformed.*\(byte (\d+)\)")
_CONSTANT = re.compile(rb"-?(NaN|Infinity)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Body = TypeVar("Body", bound=msgspec.Struct)
TensorReader = Callable[[Any, str, int], Array]
ScalarReader = Callable[[Any], str | int]


class Envelope(NamedTuple):
    """A record that was looked at from outside.

    Attributes:
        task: The task id.
        value: Its bytes.
        packed: Whether they are MessagePack; else JSON.
        time_ms: Event time in milliseconds since 1970: header `ce_time`, else the record's timestamp.
    """

    task: str
    value: bytes
    packed: bool
    time_ms: int


class Opened(NamedTuple, Generic[Body]):
    """A value that was taken apart.

    Attributes:
        body: The value's structure; its tensors are still raw.
        tensor: Reads one of them: (raw, name of the field, most examples) -> array.
        scalar: Reads text or a whole number; a `msgspec.MsgspecError` for anything else, unbuilt.
    """

    body: Body
    tensor: TensorReader
    scalar: ScalarReader


class _Said(NamedTuple):
    """What headers say: looked at once for records that have the same, one after the other."""

    headers: tuple[tuple[str, bytes | None], ...]
    packed: bool
    time: bytes | None


class Opener(Generic[Body]):
    """Opens records.

    Args:
        body: The structure of their values, tensors as `Raw`: each is then refused by its name.
        expected: Tells people which.
        whole: The same structure, tensors as `TensorMap`: a sound value is read in one go, which is faster.
    """

    def __init__(self, body: type[Body], expected: str, whole: type[msgspec.Struct] | None = None) -> None:
        self._expected = expected
        self._whole = msgspec.msgpack.Decoder(whole or body)
        self._said = _Said((), packed=False, time=None)
        self._formats: dict[str, tuple[Callable[[bytes], Body], TensorReader, ScalarReader]] = {
            JSON: (msgspec.json.Decoder(body).decode, from_json, msgspec.json.Decoder(str | int).decode),
            MSGPACK: (
                msgspec.msgpack.Decoder(body).decode,
                from_msgpack,
                msgspec.msgpack.Decoder(str | int).decode,
            ),
        }

    def envelope(self, record: Record, max_bytes: int) -> Envelope:
        """The record from outside; checks run from cheap to dear: key, size, headers, content type.

        Raises:
            BadEvent: one of them fails.
        """
        refuse_flawed(record)
        task = task_of(record.key)
        value = self._value(record.value, max_bytes)
        said = self._said
        if record.headers != said.headers:
            headers = _headers(record)
            packed = _content_type(headers.get(CONTENT_TYPE)) == MSGPACK
            said = self._said = _Said(record.headers, packed, headers.get(TIME))
        return Envelope(task, value, said.packed, _time_ms(said.time, record.timestamp_ms))

    def body(self, envelope: Envelope) -> Opened[Body]:
        """The value taken apart.

        Raises:
            BadEvent: it has another structure.
        """
        value, content_type = envelope.value, MSGPACK if envelope.packed else JSON
        parse, tensor, scalar = self._formats[content_type]
        try:
            body = self._msgpack(value) if envelope.packed else parse(value)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise self._refusal_of(error, value, content_type) from error
        return Opened(body, tensor, scalar)

    def _msgpack(self, value: bytes) -> Any:
        try:
            return self._whole.decode(value)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return self._formats[MSGPACK][0](value)

    def _value(self, value: bytes | None, max_bytes: int) -> bytes:
        if value is None:
            raise BadEvent(Reason.UNDECODABLE, f"the record has no value ({NO_VALUE}); {self._expected}")
        if len(value) > max_bytes:
            message = (
                f"a value of {len(value)} bytes; kafka.max_event_bytes = {max_bytes}, raise it or send less"
            )
            raise BadEvent(Reason.TOO_LARGE, message)
        return value

    def _refusal_of(self, error: Exception, value: bytes, content_type: str) -> BadEvent:
        if content_type == JSON and met_constant(str(error), value):
            return BadEvent(Reason.NON_FINITE_INPUT, "the value holds NaN or Infinity; leave the event out")
        framed = f"; {_FRAMED}" if is_framed(value) else ""
        return BadEvent(Reason.UNDECODABLE, f"{content_type}: {str(error)[:200]}; {self._expected}{framed}")


def is_framed(value: bytes) -> bool:
    """Whether it begins with byte 0 and a schema's number, as serialisers of a schema registry write."""
    return len(value) > _FRAME_BYTES and value[0] == 0


def refuse_flawed(record: Record) -> None:
    """Refuse a record that is passed by before it is read.

    Raises:
        BadEvent: for the reason that it came with.
    """
    flaw = record.flaw
    if flaw is not None and flaw.stage != "step":
        raise BadEvent(Reason(flaw.reason), flaw.message, stage=flaw.stage)


def same_count(name: str, x: Array, y: Array) -> None:
    """Refuse x and y that differ in their number of examples; `name` is the set's."""
    if x.shape[0] != y.shape[0]:
        raise BadEvent(
            Reason.SHAPE_MISMATCH, f"{name}: x has {counted(x.shape[0], 'example')}, y has {y.shape[0]}"
        )


def id_of(raw: Any, scalar: ScalarReader) -> str | int:
    """A record's own id; a number beyond 64 bits as text.

    Raises:
        BadEvent: it is neither text nor a whole number, or too long.
    """
    try:
        found = scalar(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(Reason.UNDECODABLE, "id: expected text or a whole number") from error
    text = str(found)
    if not 1 <= len(text.encode(errors="surrogatepass")) <= MAX_ID_BYTES:
        raise BadEvent(Reason.UNDECODABLE, f"id: expected 1 to {MAX_ID_BYTES} bytes")
    return found if isinstance(found, str) or -(2**63) <= found < 2**64 else text


def task_of(key: bytes | None) -> str:
    """The task id.

    Raises:
        BadEvent: there is none, or it is no text of 1 to 256 bytes.
    """
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


def content_type_of(record: Record) -> str:
    """The encoding of its value.

    Raises:
        BadEvent: another one than the two.
    """
    return _content_type(_headers(record).get(CONTENT_TYPE))


def _headers(record: Record) -> dict[str, bytes | None]:
    return {_header(name): content for name, content in record.headers}


@lru_cache(maxsize=64)
def _header(name: str) -> str:
    """The name in lower case; one that was no text came with lone surrogates in place of its bytes."""
    try:
        str.encode(name)  # not `name.encode`: a name that Kafka gave encodes back to any bytes
    except UnicodeEncodeError as error:
        raise BadEvent(Reason.UNDECODABLE, f"a header key is not UTF-8: {str(name)!r}") from error
    return name.lower()


@lru_cache(maxsize=64)
def _content_type(header: bytes | None) -> str:
    if header is None:
        return JSON
    name = header.partition(b";")[0].strip().lower().decode("ascii", "backslashreplace")
    if name not in (JSON, MSGPACK):
        raise BadEvent(
            Reason.UNSUPPORTED_CONTENT_TYPE, f"content-type {name[:60]!r}; use one of {JSON}, {MSGPACK}"
        )
    return name


def met_constant(error: str, value: bytes) -> bool:
    """Whether the value is JSON up to NaN or Infinity, as lenient producers (Python's json) write them."""
    place = _MALFORMED.search(error)
    return place is not None and _CONSTANT.match(value, int(place[1])) is not None


def _time_ms(header: bytes | None, fallback_ms: int) -> int:
    """Header `ce_time`; the record's own timestamp where that is absent or no time of the years 1 to 9999."""
    if header is None:
        return fallback_ms
    try:
        moment = datetime.fromisoformat(header.decode().upper())
        if moment.tzinfo is None:
            return fallback_ms
        return (moment.astimezone(UTC) - _EPOCH) // _MILLISECOND
    except (ValueError, TypeError, OverflowError):
        return fallback_ms
