"""Every reason of the closed list that a record can have by itself, case by case."""

import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest

from streammeta.codec import CONTENT_TYPE, MSGPACK, decode, decode_examples, encode_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import episode_of
from tests.codec.records import (
    GOOD,
    MAX_BYTES,
    json_body,
    json_with,
    msgpack_body,
    packed,
    read,
    read_msgpack,
    record,
)


def refusal(
    value: bytes | None, *headers: tuple[str, bytes | None], key: bytes | None = b"task-1"
) -> BadEvent:
    """The refusal of a record; its message is short."""
    with pytest.raises(BadEvent) as caught:
        read(value, *headers, key=key)
    assert 0 < len(str(caught.value)) < 400
    assert caught.value.stage == "decode"
    return caught.value


def packed_refusal(value: bytes) -> BadEvent:
    """The refusal of a MessagePack value."""
    return refusal(value, (CONTENT_TYPE, b"application/msgpack"))


def test_the_good_record_is_good() -> None:
    """The cases below differ in one thing from records that are accepted."""
    assert read(json_body()).task == "task-1"
    assert read(json_with("[[1],[2]]")).episode.support.x.tolist() == [[1], [2]]
    assert read_msgpack(msgpack_body(packed())).episode.support.x.tolist() == [[0.0], [0.0]]


def test_missing_task_id() -> None:
    """A record without a key belongs to no task."""
    assert refusal(json_body(), key=None).reason is Reason.MISSING_TASK_ID


@pytest.mark.parametrize("key", [b"", b"a" * 257, b"\xff\xfe", "é".encode() * 129])
def test_bad_task_id(key: bytes) -> None:
    """A task id is UTF-8 of 1 to 256 bytes; bytes, not letters."""
    assert refusal(json_body(), key=key).reason is Reason.BAD_TASK_ID


@pytest.mark.parametrize(
    "name", [b"", b"text/plain", b"application/x-msgpack", b"\xff\0", b"json", b"a" * 9999]
)
def test_unsupported_content_type(name: bytes) -> None:
    """Only two encodings are known; the message names them."""
    error = refusal(json_body(), (CONTENT_TYPE, name))
    assert error.reason is Reason.UNSUPPORTED_CONTENT_TYPE
    assert "application/msgpack" in str(error)


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"{",
        b"\xff\xfe",
        b"hello",
        b"[]",
        b"null",
        b"{}",
        b'{"x":[1],"y":[1]}',
        b'{"support":null,"query":null}',
        json_body(support=[1]),
        json_body(support={"x": [1]}),
        json_body(query={"y": [1]}),
        json_body() + b"x",
        json_body()[:-1],
        b'{"support":' + b"[" * 60_000,
        b'{"support":{"x":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
        b'{"a":' * 10_000,
        b'{"support":{"x":[[N]],"y":[1]}}',
    ],
)
def test_undecodable_json(value: bytes | None) -> None:
    """Broken JSON, a tombstone, missing sets and depth without end; the message shows what is expected."""
    error = refusal(value)
    assert error.reason is Reason.UNDECODABLE
    assert '{"support": {"x": T' in str(error)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        b"\x91" * 60_000,
        b"\x81\xa1z" + b"\x91" * 60_000,
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xd9\x02\xff\xfe\x01",
        json_body(),
        msgpack_body(packed())[:-1],
        msgpack_body(packed()) + b"\0",
        msgspec.msgpack.encode({"support": {"x": packed()}, "query": {"x": packed(), "y": packed()}}),
        msgspec.msgpack.encode([packed()]),
    ],
)
def test_undecodable_messagepack(value: bytes) -> None:
    """Broken MessagePack, lengths that are lies, and missing sets."""
    assert packed_refusal(value).reason is Reason.UNDECODABLE


@pytest.mark.parametrize("place", ["support.x", "support.y", "query.x", "query.y"])
@pytest.mark.parametrize(
    "tensor",
    [
        "1",
        "true",
        "null",
        '"[1]"',
        "{}",
        "[[1],[2,3]]",
        "[[1],2]",
        "[1,[2]]",
        '[["1"],["2"]]',
        "[null,1]",
        "[[],[]]",
        "[[1],[]]",
        "[true,1]",
        "[[1.5],[false]]",
        "[9223372036854775808]",
        "[-9223372036854775809]",
        "[18446744073709551616,1.5]",
        "[" + "9" * 5_000 + "]",
        "[" * 9 + "1" + "]" * 9,
        "[" * 500 + "1" + "]" * 500,
    ],
)
def test_bad_tensor_in_json(tensor: str, place: str) -> None:
    """Ragged, scalar, text, null, mixed, too wide, too deep; the message names the place."""
    error = refusal(json_with(tensor, place))
    assert error.reason is Reason.BAD_TENSOR
    assert str(error).startswith(place)


@pytest.mark.parametrize(
    "tensor",
    [
        1,
        None,
        [[1.0], [2.0]],
        {},
        packed(dtype="u2"),
        packed(dtype=">f4"),
        packed(dtype="f16"),
        packed(dtype="O"),
        packed(dtype="d" * 5_000),
        packed(dtype=4),  # type: ignore[arg-type]  # a wrong type is the case
        packed(shape=()),
        packed(shape=(2, 2)),
        packed(shape=(2, 0), data=b""),
        packed(shape=(-2, -1)),
        packed(shape=(2, -1)),
        packed(shape=(-1,)),
        packed(shape=(2**62, 2**62)),
        packed(shape=(2, 2**64 - 1)),
        packed(shape=(1,) * 9, data=b"\0" * 4),
        packed(shape=[2.0, 1]),
        packed(shape=[True, 2]),
        packed(shape=2),
        packed(data=b"\0" * 7),
        packed(data=b"\0" * 12),
        packed(data="12345678"),
        packed(data=[0] * 8),
        packed(dtype="bool", data=b"\2\1"),
    ],
)
def test_bad_tensor_in_messagepack(tensor: Any) -> None:
    """Wrong dtypes, shapes that do not match the bytes, absurd and negative ones."""
    assert packed_refusal(msgpack_body(tensor)).reason is Reason.BAD_TENSOR


def test_a_declared_length_allocates_nothing() -> None:
    """A shape that claims to have four thousand million axes is refused at once."""
    head, tail = msgpack_body(packed()).split(b"\x92\x02\x01", 1)
    assert packed_refusal(head + b"\xdd\xff\xff\xff\xff" + tail).reason is Reason.UNDECODABLE


@pytest.mark.parametrize(
    ("support", "query"),
    [
        ({"x": [[1.0], [2.0]], "y": [[1.0]]}, GOOD),
        (GOOD, {"x": [[1.0]], "y": [[1.0], [2.0]]}),
        ({"x": [[1.0, 2.0]], "y": [[1.0]]}, GOOD),
        ({"x": [1.0], "y": [[1.0]]}, GOOD),
        ({"x": [[1.0]], "y": [1]}, GOOD),
    ],
)
def test_shape_mismatch(support: Any, query: Any) -> None:
    """The sets x and y differ in examples, or one example of support is not shaped as one of query."""
    assert refusal(json_body(support, query)).reason is Reason.SHAPE_MISMATCH


@pytest.mark.parametrize("place", ["support.x", "support.y", "query.x", "query.y"])
def test_empty_set_in_json(place: str) -> None:
    """A set needs an example."""
    assert refusal(json_with("[]", place)).reason is Reason.EMPTY_SET


@pytest.mark.parametrize("shape", [(0,), (0, 1), (0, 2**62), (0, 0), (0, -1)])
def test_empty_set_in_messagepack(shape: tuple[int, ...]) -> None:
    """No examples, whatever the other axes claim."""
    assert packed_refusal(msgpack_body(packed(shape=shape, data=b""))).reason is Reason.EMPTY_SET


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400 + ".5", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("place", ["support.x", "query.y"])
def test_non_finite_input_in_json(number: str, place: str) -> None:
    """Numbers beyond float64, and the constants that lenient producers write."""
    value = json_with("[[1.0],[2.25]]", place).replace(b"2.25", number.encode())
    assert refusal(value).reason is Reason.NON_FINITE_INPUT


@pytest.mark.parametrize("place", range(4))
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_non_finite_input_in_messagepack(number: float, dtype: str, place: int) -> None:
    """One NaN or infinity anywhere in the four tensors is enough."""
    tensors = [np.ones((3, 2), dtype) for _ in range(4)]
    tensors[place][1, 1] = number
    assert packed_refusal(encode_msgpack(episode_of(*tensors))).reason is Reason.NON_FINITE_INPUT


def test_too_large_comes_before_decoding() -> None:
    """One byte more than allowed is refused unread, be it JSON or not; the message names the setting."""
    error = refusal(b"{" * (MAX_BYTES + 1))
    assert error.reason is Reason.TOO_LARGE
    assert "kafka.max_event_bytes" in str(error)
    with pytest.raises(BadEvent) as caught:
        decode(record(json_body()), max_bytes=len(json_body()) - 1)
    assert caught.value.reason is Reason.TOO_LARGE


def test_sets_of_too_many_examples_are_too_large() -> None:
    """A small value may hold a set whose activations fill memory; the message names the setting."""
    one, many = np.ones((1, 1), np.uint8), np.ones((11, 1), np.uint8)
    for tensors in ((many, many, one, one), (one, one, many, many)):
        value = record(encode_msgpack(episode_of(*tensors)), (CONTENT_TYPE, MSGPACK.encode()))
        with pytest.raises(BadEvent, match=r"11 examples; events\.max_examples = 10") as caught:
            decode(value, max_bytes=MAX_BYTES, max_examples=10)
        assert caught.value.reason is Reason.TOO_LARGE
        assert decode(value, max_bytes=MAX_BYTES, max_examples=11).task


def test_messages_never_carry_the_data() -> None:
    """A secret in the value does not end up in the dead letter's message."""
    for value in (json_with('["secret-token"]'), b'{"support": "secret-token"}', b"secret-token"):
        assert "secret-token" not in str(refusal(value))


ARRAYS = 300_000


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (b"[" + b"[]," * ARRAYS + b"[]]", Reason.UNDECODABLE),
        (b'{"x": [' + b"[]," * ARRAYS + b"NaN]}", Reason.NON_FINITE_INPUT),
        (b'{"x": [' + b"[]," * ARRAYS + b'[]], "y": [1]}', Reason.TOO_LARGE),
        (b'{"x": [[' + b"[]," * ARRAYS + b'[]]], "y": [1]}', Reason.BAD_TENSOR),
        (b'{"x": [' + b"1," * ARRAYS + b'1], "y": [1]}', Reason.TOO_LARGE),
        (b'{"x": [1], "id": [' + b"[]," * ARRAYS + b"[]]}", Reason.UNDECODABLE),
        (b'{"x": [1], "id": ' + b"9" * ARRAYS + b"}", Reason.UNDECODABLE),
    ],
)
def test_what_is_certain_to_be_refused_is_not_built(value: bytes, reason: Reason) -> None:
    """A million characters of nested lists cost no list: less than twenty times their bytes are taken."""
    tracemalloc.start()
    try:
        with pytest.raises(BadEvent) as refused:
            decode_examples(record(value), max_bytes=len(value))
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.reason == reason
    assert peak_bytes < 20 * len(value)
