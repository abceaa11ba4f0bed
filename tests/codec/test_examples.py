"""Labelled examples on the wire: whole, in halves, and refused."""

import contextlib
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.codec import CONTENT_TYPE, MSGPACK, decode_examples, encode_json, encode_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import Batch, Examples, HalfExamples
from tests.codec.records import MAX_BYTES, packed, record

X = [[1.0], [2.0]]


def read(body: Any, *, max_examples: int = 100) -> Examples | HalfExamples:
    """What the codec makes of a JSON body."""
    return decode_examples(record(json.dumps(body).encode()), max_bytes=MAX_BYTES, max_examples=max_examples)


def read_msgpack(**fields: Any) -> Examples | HalfExamples:
    """The same, of MessagePack."""
    value = msgspec.msgpack.encode(fields)
    return decode_examples(record(value, (CONTENT_TYPE, MSGPACK.encode())), max_bytes=MAX_BYTES)


def test_examples_in_both_encodings() -> None:
    """One or more at once; further fields, an id among them, are ignored."""
    for examples in (
        read({"x": X, "y": X, "id": {"of": "others"}, "more": 1}),
        read_msgpack(x=packed(), y=packed(), id=b"raw"),
    ):
        assert isinstance(examples, Examples)
        assert examples.examples.x.shape == examples.examples.y.shape == (2, 1)
        assert (examples.task, examples.time_ms) == ("task-1", 1_700_000)


@pytest.mark.parametrize("part", ["x", "y"])
@pytest.mark.parametrize(("name", "text"), [("a", "a"), (7, "7"), ("7", "7"), (-1, "-1")])
def test_a_half_is_known_by_its_id(part: str, name: Any, text: str) -> None:
    """Text or a whole number, in both encodings the same."""
    for half in (read({"id": name, part: X}), read_msgpack(**{"id": name, part: packed()})):
        assert isinstance(half, HalfExamples)
        assert (half.part, half.id, half.array.shape) == (part, text, (2, 1))


@pytest.mark.parametrize(
    ("body", "reason", "message"),
    [
        ({}, Reason.UNDECODABLE, 'x and y are missing; expected {"x": T, "y": T}'),
        ({"id": 1}, Reason.UNDECODABLE, "x and y are missing"),
        ({"x": X}, Reason.UNDECODABLE, "there is no id to join it by"),
        ({"id": 1.5, "x": X}, Reason.UNDECODABLE, "id: expected text or a whole number"),
        ({"id": True, "y": X}, Reason.UNDECODABLE, "id: expected text or a whole number"),
        ({"id": None, "y": X}, Reason.UNDECODABLE, "id: expected text or a whole number"),
        ({"id": "", "y": X}, Reason.UNDECODABLE, "id: expected 1 to 256 bytes"),
        ({"id": "ü" * 129, "y": X}, Reason.UNDECODABLE, "id: expected 1 to 256 bytes"),
        ([1], Reason.UNDECODABLE, "application/json"),
        ({"x": X, "y": [[1.0]]}, Reason.SHAPE_MISMATCH, "the record: x has 2 examples, y has 1"),
        ({"x": [], "y": []}, Reason.EMPTY_SET, "x: no examples"),
        ({"x": X, "y": "b"}, Reason.BAD_TENSOR, "y: "),
        ({"id": 1, "x": [[float("nan")]]}, Reason.NON_FINITE_INPUT, "the value holds NaN"),
        ({"support": {"x": X, "y": X}, "query": {"x": X, "y": X}}, Reason.UNDECODABLE, "x and y are missing"),
    ],
)
def test_refusals(body: Any, reason: Reason, message: str) -> None:
    """Each with its reason, and what was expected."""
    with pytest.raises(BadEvent) as caught:
        read(body)
    assert caught.value.reason is reason
    assert message in str(caught.value)


def test_too_many_examples() -> None:
    """`events.max_examples` bounds a record, whole or half."""
    for body in ({"x": X, "y": X}, {"id": 1, "y": X}):
        with pytest.raises(BadEvent, match=r"a set of 2 examples; events\.max_examples = 1"):
            read(body, max_examples=1)


@given(value=st.binary(max_size=60), msgpack=st.booleans())
def test_any_bytes_are_read_or_refused(value: bytes, msgpack: bool) -> None:
    """Never another exception."""
    headers = [(CONTENT_TYPE, MSGPACK.encode())] if msgpack else []
    with contextlib.suppress(BadEvent):
        decode_examples(record(value, *headers), max_bytes=MAX_BYTES)


@pytest.mark.parametrize("encode", [encode_json, encode_msgpack])
def test_what_producers_write_is_read(encode: Any) -> None:
    """The same numbers, and what stands beside them is no hindrance."""
    numbers = np.arange(6, dtype=np.float64).reshape(3, 2)
    value = encode(Batch(numbers, numbers[:, :1]), {"level": 3.5, "scale": 2.0})
    headers = [(CONTENT_TYPE, MSGPACK.encode())] if encode is encode_msgpack else []
    back = decode_examples(record(value, *headers), max_bytes=MAX_BYTES)
    assert isinstance(back, Examples)
    assert back.examples.x.tolist() == numbers.tolist()
    assert back.examples.y.tolist() == numbers[:, :1].tolist()
