"""Labelled examples from a record, or one half of them: x now, y later, joined by their id.

{"x": T, "y": T}              one or more labelled examples
{"id": ID, "x": T}            their inputs alone; ID is text or a whole number
{"id": ID, "y": T}            the labels of the inputs with this id
"""

import msgspec
from msgspec import UNSET, Raw, UnsetType

from streammeta.codec.envelope import Opener, ScalarReader, same_count
from streammeta.codec.tensors import TensorMap, check_count
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Examples, HalfExamples, Record

MAX_ID_BYTES = 256


class _Body(msgspec.Struct):
    x: Raw | UnsetType = UNSET
    y: Raw | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


class _WholeBody(msgspec.Struct):
    x: TensorMap | UnsetType = UNSET
    y: TensorMap | UnsetType = UNSET
    id: Raw | UnsetType = UNSET


_EXPECTED = 'expected {"x": T, "y": T}, or {"id": ID, "x": T} and {"id": ID, "y": T}'
_RECORDS = Opener(_Body, _EXPECTED, _WholeBody)


def decode_examples(record: Record, *, max_bytes: int, max_examples: int = 10_000) -> Examples | HalfExamples:
    """The examples that `record` carries, or the half of them; an id beside both halves is ignored.

    Args:
        record: As Kafka gave it.
        max_bytes: The largest value that is looked into.
        max_examples: The most examples in one record.

    Raises:
        BadEvent: the record cannot be used; the only exception, whatever the bytes.
    """
    envelope = _RECORDS.envelope(record, max_bytes)
    task, time_ms = envelope.task, envelope.time_ms
    body, tensor, scalar = _RECORDS.body(envelope)
    x = None if body.x is UNSET else tensor(body.x, "x", max_examples)
    y = None if body.y is UNSET else tensor(body.y, "y", max_examples)
    for array in (x, y):
        if array is not None:
            check_count(len(array), max_examples)
    if x is not None and y is not None:
        check_examples(Batch(x, y), max_examples)
        return Examples(task, Batch(x, y), time_ms)
    if x is not None:
        return HalfExamples(task, _id(body.id, scalar), "x", x, time_ms)
    if y is not None:
        return HalfExamples(task, _id(body.id, scalar), "y", y, time_ms)
    raise BadEvent(Reason.UNDECODABLE, f"x and y are missing; {_EXPECTED}")


def check_examples(examples: Batch[Array], max_examples: int) -> None:
    """Inputs and labels agree in number, and are not too many.

    Raises:
        BadEvent: shape_mismatch, too_large.
    """
    check_count(max(len(examples.x), len(examples.y)), max_examples)
    same_count("the record", examples.x, examples.y)


def _id(raw: Raw | UnsetType, scalar: ScalarReader) -> str:
    """The id as text: 7 and "7" are the same."""
    if raw is UNSET:
        raise BadEvent(
            Reason.UNDECODABLE, f"x or y is missing, and there is no id to join it by; {_EXPECTED}"
        )
    try:
        text = str(scalar(raw))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(Reason.UNDECODABLE, "id: expected text or a whole number") from error
    if not 1 <= len(text.encode(errors="surrogatepass")) <= MAX_ID_BYTES:
        raise BadEvent(Reason.UNDECODABLE, f"id: expected 1 to {MAX_ID_BYTES} bytes")
    return text
