"""What is written is read back: every dtype, every shape, both encodings."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streammeta.codec import CONTENT_TYPE, MSGPACK, decode, encode_json, encode_msgpack
from streammeta.codec.tensors import DTYPES
from streammeta.events import Array, Episode, episode_of
from tests.codec.records import MAX_BYTES, read, read_msgpack, record

JSON_DTYPES = {
    "f": np.dtype(np.float64),
    "i": np.dtype(np.int64),
    "u": np.dtype(np.int64),
    "b": np.dtype(np.bool),
}


@st.composite
def episodes(draw: st.DrawFn) -> Episode[Array]:
    """Episodes of finite numbers: any dtype of the contract, 1 to 3 axes, sets of 1 to 4 examples."""

    def tensors(dtype: "np.dtype[Any]", example: tuple[int, ...]) -> list[Array]:
        elements = (
            {"allow_nan": False, "allow_infinity": False, "allow_subnormal": True}
            if dtype.kind == "f"
            else None
        )
        return [draw(hnp.arrays(dtype, (count, *example), elements=elements)) for count in counts]

    counts = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    kinds = st.sampled_from(list(DTYPES.values()))
    shapes = hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)
    support_x, query_x = tensors(draw(kinds), draw(shapes))
    support_y, query_y = tensors(draw(kinds), draw(shapes))
    return episode_of(support_x, support_y, query_x, query_y)


def arrays(episode: Episode[Array]) -> list[Array]:
    """The four arrays."""
    return [*episode.support, *episode.query]


@given(episodes())
def test_messagepack_gives_back_the_same_bits(episode: Episode[Array]) -> None:
    """Dtype, shape and every bit survive MessagePack."""
    event = read_msgpack(encode_msgpack(episode))
    for sent, got in zip(arrays(episode), arrays(event.episode), strict=True):
        assert (got.dtype, got.shape, got.tobytes()) == (sent.dtype, sent.shape, sent.tobytes())


@given(episodes())
def test_json_gives_back_the_same_numbers(episode: Episode[Array]) -> None:
    """Shape and every number survive JSON, as float64, int64 or bool."""
    event = read(encode_json(episode))
    for sent, got in zip(arrays(episode), arrays(event.episode), strict=True):
        wide = sent.astype(JSON_DTYPES[sent.dtype.kind])
        assert (got.dtype, got.shape, got.tobytes()) == (wide.dtype, wide.shape, wide.tobytes())


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_has_its_extremes(name: str) -> None:
    """The largest and the smallest number of each dtype come back from MessagePack."""
    dtype = DTYPES[name]
    info: Any = np.finfo(dtype) if dtype.kind == "f" else None if dtype.kind == "b" else np.iinfo(dtype)
    extremes = [info.min, info.max] if info else [False, True]
    column = np.array(extremes, dtype)
    got = read_msgpack(encode_msgpack(episode_of(column, column, column, column))).episode.query.y
    assert got.dtype == dtype
    assert np.array_equal(got, column)


def test_layout_in_memory_does_not_matter() -> None:
    """Big-endian and transposed arrays are written as little-endian in C order."""
    plain = np.arange(6, dtype="<f4").reshape(2, 3)
    odd = np.asfortranarray(plain).astype(">f4")
    assert encode_msgpack(episode_of(odd, odd, odd, odd)) == encode_msgpack(
        episode_of(plain, plain, plain, plain)
    )


def test_messagepack_copies_nothing() -> None:
    """An array of MessagePack is a read-only view of the record's value."""
    column = np.arange(64, dtype=np.float32).reshape(64, 1)
    value = encode_msgpack(episode_of(column, column, column, column))
    got = read_msgpack(value).episode.support.x
    assert np.shares_memory(got, np.frombuffer(value, np.uint8))
    assert not got.flags.writeable


def test_one_float_makes_a_tensor_of_floats() -> None:
    """A JSON tensor is int64 when all numbers are written without a point, else float64."""
    value = b'{"support":{"x":[[1,2]],"y":[0]},"query":{"x":[[1,2.0]],"y":[1]}}'
    episode = read(value).episode
    assert episode.support.x.dtype == np.int64
    assert episode.query.x.dtype == np.float64
    assert episode.query.x.tolist() == [[1.0, 2.0]]


def test_unknown_fields_are_ignored() -> None:
    """Producers may add fields at every level, in both encodings."""
    value = b'{"v":[[1],null],"support":{"x":[1],"y":[2],"w":{"a":"b"}},"query":{"x":[3],"y":[4]}}'
    assert read(value).episode.query.y.tolist() == [4]
    one = b"\x83\xa5dtype\xa2i1\xa5shape\x91\x01\xa4data\xc4\x01\x05"
    pair = b"\x83\xa1x" + one + b"\xa1y" + one + b"\xa4more\xc0"
    packed_value = b"\x83\xa5extra\x93\x01\xc0\xa1a\xa7support" + pair + b"\xa5query" + pair
    assert read_msgpack(packed_value).episode.support.x.tolist() == [5]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("content-type", b"application/msgpack"),
        ("content-type", b"Application/MsgPack"),
        ("Content-Type", b" application/msgpack ; version=5"),
    ],
)
def test_content_type_is_read_leniently(name: str, value: bytes) -> None:
    """Letter case, spaces and parameters do not matter."""
    column = np.ones((2, 1), np.float32)
    event = read(encode_msgpack(episode_of(column, column, column, column)), (name, value))
    assert event.episode.support.x.dtype == np.float32


@pytest.mark.parametrize("header", [None, b"application/json; charset=utf-8", b"APPLICATION/JSON"])
def test_json_is_the_default(header: bytes | None) -> None:
    """A null or JSON content type means JSON; so does none at all, as the other tests show."""
    column = np.ones((2, 1))
    event = read(encode_json(episode_of(column, column, column, column)), (CONTENT_TYPE, header))
    assert np.array_equal(event.episode.support.x, column)


@pytest.mark.parametrize(
    ("header", "time_ms"),
    [
        (b"1970-01-01T00:00:01Z", 1_000),
        (b"1970-01-01T01:00:01.5+01:00", 1_500),
        (b"1970-01-01t00:00:00.123456789z", 123),
        (b"1969-12-31T23:59:59Z", -1_000),
    ],
)
def test_event_time_is_the_header(header: bytes, time_ms: int) -> None:
    """`ce_time` gives milliseconds since 1970, whatever its offset and precision."""
    column = np.ones((1, 1))
    assert (
        read(encode_json(episode_of(column, column, column, column)), ("ce_time", header)).time_ms == time_ms
    )


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"yesterday",
        b"2026-01-01T00:00:00",
        b"\xff",
        b"9" * 5000,
        b"0001-01-01T00:00:00+14:00",
        b"9999-12-31T23:59:59-14:00",
    ],
)
def test_event_time_falls_back_to_the_record(header: bytes | None) -> None:
    """Where `ce_time` is absent or not RFC 3339 (no offset, for example), Kafka's timestamp counts."""
    column = np.ones((1, 1))
    value = encode_json(episode_of(column, column, column, column))
    assert read(value, ("ce_time", header)).time_ms == 1_700_000
    assert read(value).time_ms == 1_700_000


@given(st.text(min_size=1, max_size=64))
def test_task_id_is_the_key(task: str) -> None:
    """Any text of up to 256 bytes is a task id."""
    column = np.ones((1, 1))
    value = encode_json(episode_of(column, column, column, column))
    assert read(value, key=task.encode()).task == task


def test_max_bytes_is_inclusive() -> None:
    """A value of exactly the largest size is read."""
    column = np.ones((1, 1))
    value = encode_json(episode_of(column, column, column, column))
    exact = record(value)._replace(key=b"a" * 256)
    assert decode(exact, max_bytes=len(value)).task == "a" * 256
    assert len(value) < MAX_BYTES


def test_what_the_wire_cannot_carry_is_refused_at_the_sender() -> None:
    """NaN in JSON and dtypes outside the contract are errors of the program that sends."""
    nan = np.array([[np.nan]])
    with pytest.raises(ValueError, match="NaN or infinity"):
        encode_json(episode_of(nan, nan, nan, nan))
    wide = np.ones((1, 1), np.uint16)
    with pytest.raises(ValueError, match="uint16"):
        encode_msgpack(episode_of(wide, wide, wide, wide))


def test_messagepack_names_its_header() -> None:
    """The names of the contract."""
    assert (CONTENT_TYPE, MSGPACK) == ("content-type", "application/msgpack")
