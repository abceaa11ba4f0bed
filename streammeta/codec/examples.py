"""Labelled examples from a record, or one half of them: x now, y later, joined by their id.

{"x": T, "y": T}              one or more labelled examples
{"id": ID, "x": T}            their inputs alone; ID is text or a whole number
{"id": ID, "y": T}            the labels of the inputs with this id
{"x": T}                      inputs whose labels will not come: they ask for a prediction alone
"""

from typing import Literal, overload

import msgspec
from msgspec import UNSET, Raw, UnsetType

from streammeta.codec.envelope import UNANSWERED, Opener, id_of, same_count
from streammeta.codec.tensors import TensorMap, check_count
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Batch, Examples, HalfExamples, Question, Record


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


@overload
def decode_examples(
    record: Record, *, max_bytes: int, max_examples: int = ..., asks: Literal[False] = False
) -> Examples | HalfExamples: ...
@overload
def decode_examples(
    record: Record, *, max_bytes: int, max_examples: int = ..., asks: bool, waits: bool = ...
) -> Examples | HalfExamples | Question: ...
def decode_examples(
    record: Record,
    *,
    max_bytes: int,
    max_examples: int = 10_000,
    asks: bool = False,
    waits: bool = True,
) -> Examples | HalfExamples | Question:
    """The examples that `record` carries, or the half of them; an id beside both halves is ignored.

    Args:
        record: As Kafka gave it.
        max_bytes: The largest value that is looked into.
        max_examples: The most examples in one record.
        asks: Whether inputs without labels and id ask for a prediction; else they are refused.
        waits: Whether inputs with an id may wait for their labels; else they only ask, too.

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
    if x is None and y is None:
        raise BadEvent(Reason.UNDECODABLE, f"x and y are missing; {_EXPECTED}")
    name = None if body.id is UNSET else id_of(body.id, scalar)
    if asks and x is not None and (name is None or not waits):
        return Question(task, x, name=name)
    if name is None:
        why = _EXPECTED if x is None else f"{_EXPECTED}; {UNANSWERED}"
        raise BadEvent(Reason.UNDECODABLE, f"x or y is missing, and there is no id to join it by; {why}")
    if x is not None:
        return HalfExamples(task, str(name), "x", x, time_ms, name)
    assert y is not None  # noqa: S101 (narrows the type: one of the two is there)
    return HalfExamples(task, str(name), "y", y, time_ms, name)


def check_examples(examples: Batch[Array], max_examples: int) -> None:
    """Inputs and labels agree in number, and are not too many.

    Raises:
        BadEvent: shape_mismatch, too_large.
    """
    check_count(max(len(examples.x), len(examples.y)), max_examples)
    same_count("the record", examples.x, examples.y)
