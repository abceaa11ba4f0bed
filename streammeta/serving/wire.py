"""Predictions on the wire: requests read, answers and refusals written, in JSON or MessagePack.

{"task": ID, "x": T, "support"?: {"x": T, "y": T}, "at"?: "auto"}, or a list of up to 1,000
{"task", "y": T, "at", "known", "events", "task_events", "age_seconds"}, or a list of as many
"""

import json
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from streammeta.codec import JSON
from streammeta.codec.envelope import MAX_TASK_BYTES, met_constant
from streammeta.codec.tensors import TensorMap, from_json, from_msgpack
from streammeta.codec.writing import to_lists, to_map
from streammeta.errors import BadEvent, NoAnswer, Reason
from streammeta.events import Array, Batch
from streammeta.quoting import quoted_bytes
from streammeta.serving.about import About
from streammeta.serving.asking import AT, Answer, Ask, At
from streammeta.serving.desk import Answered
from streammeta.wording import counted

_NO_LIMIT: Final = sys.maxsize
"""Examples of a tensor that are read: the size of a body bounds them, the predictor refuses too many."""
MAX_ASKS: Final = 1000
"""Predictions of one request."""

_EXPECTED: Final = (
    'expected {"task": ID, "x": T, "support"?: {"x": T, "y": T}, "at"?: "auto"}, or a list of such'
)
INVALID: Final = "invalid"
"""The reason of what could be read and is not what can be asked."""
_MISSING: Final = re.compile(r"missing required field `(\w+)`")
_CONSTANT: Final = re.compile("NaN|-?Infinity")
_PATH: Final = re.compile(r"\$(?:\[(\d+)\])?(?:\.([\w.]+))?`?$")


class _Set(msgspec.Struct):
    x: Raw
    y: Raw


class _Line(msgspec.Struct):
    x: Raw
    support: _Set | None = None


class _Ask(msgspec.Struct):
    task: str
    x: Raw
    support: _Set | None = None
    at: str = "auto"


class _WholeSet(msgspec.Struct):
    x: TensorMap
    y: TensorMap


class _WholeAsk(msgspec.Struct):
    task: str
    x: TensorMap
    support: _WholeSet | None = None
    at: str = "auto"


Body = _Ask | _WholeAsk


class Asked:
    """A request that was read: what is asked for, and whether a list was sent."""

    __slots__ = ("asks", "listed")

    def __init__(self, asks: list[Ask], *, listed: bool) -> None:
        self.asks = asks
        self.listed = listed


_JSON: Final = (msgspec.json.Decoder(_Ask), msgspec.json.Decoder(list[_Ask]))
_LINE: Final = msgspec.json.Decoder(_Line)
_MSGPACK: Final = (msgspec.msgpack.Decoder(_Ask), msgspec.msgpack.Decoder(list[_Ask]))
_WHOLE: Final = (msgspec.msgpack.Decoder(_WholeAsk), msgspec.msgpack.Decoder(list[_WholeAsk]))


def read(body: bytes, content_type: str) -> Asked:
    """What is asked for.

    Raises:
        NoAnswer: names what cannot be asked; reason `undecodable` where nothing could be read at all.
    """
    listed = _is_list(body, content_type)
    bodies = _parsed(body, content_type, listed=listed)
    many = bodies if listed else [bodies]
    if not 1 <= len(many) <= MAX_ASKS:
        reason = Reason.TOO_LARGE if many else Reason.EMPTY_SET
        raise NoAnswer(reason, "", f"a list of {len(many)}; ask for 1 to {MAX_ASKS} at once")
    tensor = _json if content_type == JSON else _msgpack
    return Asked([_ask(one, tensor, number) for number, one in enumerate(many)], listed=listed)


def read_line(line: bytes, task: str, at: At) -> Ask:
    """What a line of JSON asks for of this task: its x, and its support set.

    Raises:
        NoAnswer: as `read`.
    """
    try:
        body = _LINE.decode(line)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise _refusal(error) from error
    return _ask(_Ask(task, body.x, body.support, at), _json, 0)


def written(answered: Answered, content_type: str, *, listed: bool) -> bytes:
    """The answers, as a list if one was sent."""
    tensor = to_lists if content_type == JSON else to_map
    age_seconds = round(answered.age_seconds, 3)
    rows = [_row(answer, tensor, age_seconds) for answer in answered.answers]
    return encoded(rows if listed else rows[0], content_type)


def told(about: About) -> bytes:
    """What can be asked of a task, as JSON."""
    examples = about.examples
    sets = None if examples is None else {"x": to_lists(examples.x), "y": to_lists(examples.y)}
    return encoded({**about._asdict(), "examples": sets}, JSON)


def encoded(value: Any, content_type: str) -> bytes:
    """Plain data as bytes."""
    return quoted_bytes(msgspec.json.encode(value)) if content_type == JSON else msgspec.msgpack.encode(value)


def _row(answer: Answer, tensor: Callable[[Array], Any], age_seconds: float) -> dict[str, Any]:
    return {
        "task": answer.task,
        "y": tensor(answer.y),
        "at": answer.at,
        "known": answer.known,
        "events": answer.events,
        "task_events": answer.task_events,
        "age_seconds": age_seconds,
    }


def _is_list(body: bytes, content_type: str) -> bool:
    if content_type == JSON:
        return body.lstrip()[:1] == b"["
    first = body[0] if body else 0
    return 0x90 <= first <= 0x9F or first in (0xDC, 0xDD)


def _parsed(body: bytes, content_type: str, *, listed: bool) -> Any:
    try:
        if content_type == JSON:
            return _JSON[listed].decode(body)
        try:
            return _WHOLE[listed].decode(body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            return _MSGPACK[listed].decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        if content_type == JSON and met_constant(str(error), body):
            raise _constant(body) from error
        raise _refusal(error) from error


def _refusal(error: Exception) -> NoAnswer:
    """`undecodable` where nothing could be read, `invalid` where it was something else."""
    message = f"{str(error)[:200]}; {_EXPECTED}"
    if not isinstance(error, msgspec.ValidationError):
        return NoAnswer(Reason.UNDECODABLE, "", message)
    place, missing = _PATH.search(str(error)), _MISSING.search(str(error))
    number, field = place.groups() if place else (None, None)
    fields = (field, missing[1] if missing else None)
    return NoAnswer(INVALID, ".".join(filter(None, fields)), message, int(number or 0))


def _constant(body: bytes) -> NoAnswer:
    """The refusal of NaN or Infinity, with the place of the first, where Python's lenient reader finds it."""
    try:
        found = json.loads(body)
        asks = [
            ask if isinstance(ask, dict) else {} for ask in (found if isinstance(found, list) else [found])
        ]
    except (ValueError, RecursionError):
        asks = []
    for number, ask in enumerate(asks):
        support = ask.get("support")
        sets = support if isinstance(support, dict) else {}
        for field, value in {"x": ask.get("x"), **{f"support.{name}": sets[name] for name in sets}}.items():
            if met := _CONSTANT.search(json.dumps(value)):
                message = f"{field}: {met[0]} is no number in JSON; send finite numbers"
                return NoAnswer(Reason.NON_FINITE_INPUT, field, message, number)
    return NoAnswer(Reason.NON_FINITE_INPUT, "", "NaN or Infinity is no JSON; send finite numbers")


def _json(raw: Any, field: str) -> Array:
    return from_json(raw, field, _NO_LIMIT)


def _msgpack(raw: Any, field: str) -> Array:
    return from_msgpack(raw, field, _NO_LIMIT)


def _ask(body: Body, tensor: Callable[[Any, str], Array], number: int) -> Ask:
    if not 1 <= len(body.task.encode(errors="surrogatepass")) <= MAX_TASK_BYTES:
        size_bytes = len(body.task.encode(errors="surrogatepass"))
        message = f"task: {size_bytes} bytes; an id has 1 to {MAX_TASK_BYTES} bytes of UTF-8"
        raise NoAnswer(Reason.BAD_TASK_ID, "task", message, number)
    if body.at not in AT:
        raise NoAnswer(INVALID, "at", f"at: {body.at[:60]!r} is none of {', '.join(AT)}", number)
    of = partial(_tensor, tensor, number)
    support = None
    if body.support is not None:
        support = Batch(of(body.support.x, "support.x"), of(body.support.y, "support.y"))
        if len(support.x) != len(support.y):
            message = f"support: x has {counted(len(support.x), 'example')}, y has {len(support.y)}"
            raise NoAnswer(Reason.SHAPE_MISMATCH, "support.y", message, number)
    return Ask(body.task, of(body.x, "x"), support, cast("At", body.at))


def _tensor(read_one: Callable[[Any, str], Array], number: int, raw: Any, field: str) -> Array:
    try:
        return read_one(raw, field)
    except BadEvent as refusal:
        raise NoAnswer(refusal.reason, field, str(refusal), number) from refusal
