"""Records of another form: a user's function is asked, and what it returns is checked as every record is."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from streammeta.codec import decode, decode_examples
from streammeta.codec.foreign import translated
from streammeta.errors import BadEvent, Reason
from streammeta.events import Examples, HalfExamples, Record

LIMIT = 1000


def record(value: bytes | None = b"3;4", **changes: Any) -> Record:
    """One of a topic that was there before streammeta."""
    return Record("t", 0, 7, 1_000, b"key", value)._replace(**changes)


def read(content: Any) -> Callable[[Record], Any]:
    """A user's function that returns this."""
    return lambda _: content


def examples(content: Any, given: Record | None = None) -> Examples | HalfExamples:
    """What is learned from such a record."""
    return decode_examples(translated(given or record(), read(content), "m:f", LIMIT), max_bytes=LIMIT)


def test_the_function_sees_the_record_as_it_is() -> None:
    """Bytes, key and headers untouched; its arrays come through bit for bit."""
    seen = list[Record]()

    def user(given: Record) -> dict[str, Any]:
        seen.append(given)
        x, y = (given.value or b"").split(b";")
        return {"x": [[float(x)]], "y": np.array([[float(y)]], np.float32)}

    given = record(headers=(("content-type", b"text/csv"), ("trace", b"1")))
    found = decode_examples(translated(given, user, "m:f", LIMIT), max_bytes=LIMIT)
    assert seen == [given]
    assert isinstance(found, Examples)
    assert (found.task, found.time_ms) == ("key", 1_000)
    assert found.examples.x.tolist() == [[3.0]]
    assert found.examples.y.dtype.name == "float32"


def test_task_and_time_may_stand_in_the_value() -> None:
    """They come before key, header and timestamp."""
    content = {"x": [1.0], "y": [2.0], "task": "shop/1", "time": datetime(1970, 1, 1, 0, 1, tzinfo=UTC)}
    found = examples(content, record(headers=(("ce_time", b"2020-01-01T00:00:00Z"),)))
    assert (found.task, found.time_ms) == ("shop/1", 60_000)


def test_halves_and_episodes() -> None:
    """All that the contract has may be returned."""
    half = examples({"id": 7, "x": [[1.0]]})
    assert isinstance(half, HalfExamples)
    assert (half.id, half.part) == ("7", "x")
    one = {"x": [[1.0]], "y": [[2.0]]}
    told = translated(record(), read({"support": one, "query": one}), "m:f", LIMIT)
    assert decode(told, max_bytes=LIMIT).episode.query.y.tolist() == [[2.0]]


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (None, Reason.UNDECODABLE, "m:f returned nothing to learn from"),
        ([1.0], Reason.UNDECODABLE, "m:f returned a list, not a mapping"),
        ({"x": [[1.0]], "y": "many"}, Reason.BAD_TENSOR, "y: not numbers in equal rows"),
        ({"x": [[1.0], [1.0, 2.0]], "y": [1.0]}, Reason.BAD_TENSOR, "x: not numbers in equal rows"),
        ({"x": [[np.nan]], "y": [[1.0]]}, Reason.NON_FINITE_INPUT, "x"),
        ({"x": [[1.0]], "y": [1.0, 2.0]}, Reason.SHAPE_MISMATCH, "x has 1 example, y has 2"),
        ({"x": [], "y": []}, Reason.EMPTY_SET, "x"),
        ({"x": [1.0], "y": [1.0], "task": ""}, Reason.BAD_TASK_ID, "0 bytes"),
        ({}, Reason.UNDECODABLE, "x and y are missing"),
    ],
)
def test_what_cannot_be_used_is_named(content: Any, reason: Reason, words: str) -> None:
    """By the reasons of the closed list, and in words that say whose fault it is."""
    with pytest.raises(BadEvent, match=words) as refused:
        examples(content)
    assert refused.value.reason == reason


def test_an_error_of_the_function_is_told() -> None:
    """A dead letter says which function, and what it raised."""

    def user(_: Record) -> dict[str, Any]:
        raise KeyError("price")

    with pytest.raises(BadEvent, match="m:f: KeyError: 'price'") as refused:
        translated(record(), user, "m:f", LIMIT)
    assert refused.value.reason == Reason.UNDECODABLE


def test_it_is_not_asked_of_what_is_no_value() -> None:
    """A tombstone, or a value beyond the limit, is judged by its own rules."""
    for given in (record(None), record(b"0" * (LIMIT + 1))):
        assert translated(given, read(1 / 1), "m:f", LIMIT) is given


def test_a_registrys_frame_is_recognised() -> None:
    """Whoever sends Avro reads in the dead letter how it could be read."""
    with pytest.raises(BadEvent, match=r"events\.decoder"):
        decode_examples(record(b"\0\0\0\0\x07abc"), max_bytes=LIMIT)
    with pytest.raises(BadEvent) as refused:
        decode_examples(record(b"[]"), max_bytes=LIMIT)
    assert "events.decoder" not in str(refused.value)
