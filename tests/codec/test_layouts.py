"""Values that share a layout are read as each would be alone."""

import msgspec
import numpy as np
import pytest

from streammeta.codec import decode, reading
from streammeta.codec.layouts import MAX_LAYOUTS, Layouts
from streammeta.errors import BadEvent, Reason
from streammeta.events import Array, Record, TaskEvent

HEADERS = (("content-type", b"application/msgpack"),)
NAMES = ("support.x", "support.y", "query.x", "query.y")


@pytest.fixture(autouse=True)
def no_layouts(monkeypatch: pytest.MonkeyPatch) -> Layouts:
    """None is known yet."""
    layouts = Layouts()
    monkeypatch.setattr(reading, "_LAYOUTS", layouts)
    return layouts


def tensor(array: Array, dtype: str = "") -> dict[str, object]:
    """An array as MessagePack has it."""
    name = dtype or {"b": "bool"}.get(array.dtype.kind, array.dtype.str[1:])
    return {"dtype": name, "shape": list(array.shape), "data": array.tobytes()}


def value(*arrays: Array, **changed: object) -> bytes:
    """An episode of these four arrays."""
    sx, sy, x, y = map(tensor, arrays)
    return msgspec.msgpack.encode({"support": {"x": sx, "y": sy}, "query": {"x": x, "y": y}} | changed)


def drawn(seed: int, dtype: str = "f4", count: int = 3) -> list[Array]:
    """Four arrays of these numbers."""
    draws = np.random.default_rng(seed)
    return [(9 * draws.normal(size=(n, 2))).astype(dtype) for n in (count, count, 2, 2)]


def read(content: bytes, max_examples: int = 100) -> TaskEvent:
    """The event of a record with this value."""
    return decode(Record("t", 0, 1, 2, b"k", content, HEADERS), max_bytes=10_000, max_examples=max_examples)


def refusal(content: bytes, max_examples: int = 100) -> tuple[Reason, str]:
    """Why it is refused."""
    with pytest.raises(BadEvent) as caught:
        read(content, max_examples)
    return caught.value.reason, str(caught.value)


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "i1", "i8", "u1", "bool"])
def test_the_second_value_is_read_as_it_was_sent(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every dtype, without the value being taken apart again; still a read-only view of its bytes."""
    read(value(*drawn(1, dtype)))
    monkeypatch.setattr(reading._RECORDS, "body", None)
    second = drawn(2, dtype)
    content = value(*second)
    found = [array for batch in read(content).episode for array in batch]
    for array, sent in zip(found, second, strict=True):
        assert array.dtype == sent.dtype
        assert array.tobytes() == sent.tobytes()
        assert not array.flags.writeable
        assert np.shares_memory(array, np.frombuffer(content, np.uint8))


def test_what_the_data_decide_is_looked_at_in_each_value() -> None:
    """NaN, a bool of two, too many examples: refused by a known layout in the words of an unknown one."""
    broken = drawn(2)
    broken[2][1, 0] = np.nan
    content = value(*broken)
    alone = refusal(content)
    read(value(*drawn(1)))
    assert refusal(content) == alone
    assert alone[0] is Reason.NON_FINITE_INPUT
    assert refusal(value(*drawn(3)), max_examples=2)[0] is Reason.TOO_LARGE
    truths = value(*drawn(1, "bool"))
    read(truths)
    data = drawn(1, "bool")[3].tobytes()
    at = truths.rindex(data)
    assert refusal(truths[:at] + b"\x02" + truths[at + 1 :])[0] is Reason.BAD_TENSOR


def test_every_other_byte_decides_whether_a_layout_fits() -> None:
    """Each byte changed in turn: what comes of it is what comes of it where no layout is known."""
    first = value(*drawn(1, "i4", count=1))
    read(first)
    layouts, outcomes = reading._LAYOUTS, []
    for at in range(len(first)):
        changed = first[:at] + bytes([first[at] ^ 1]) + first[at + 1 :]
        for known in (layouts, Layouts()):
            reading._LAYOUTS = known  # type: ignore[misc]  # the fixture puts it back
            try:
                outcomes.append(repr(read(changed)))
            except BadEvent as error:
                outcomes.append(repr(error))
    assert outcomes[::2] == outcomes[1::2]
    assert len({*outcomes}) > 20


def test_shapes_that_share_a_size_take_turns() -> None:
    """Equal bytes, other axes: each is read by its own shape."""
    tall = drawn(1, count=2)
    wide = [array.reshape(1, 4) for array in tall]
    for _ in range(2):
        for arrays in (tall, wide):
            sent = [array for batch in read(value(*arrays)).episode for array in batch]
            assert [array.shape for array in sent] == [array.shape for array in arrays]


def test_layouts_are_bounded(no_layouts: Layouts) -> None:
    """The one that was learned first goes; arrays elsewhere teach nothing."""
    for size in range(1, MAX_LAYOUTS + 2):
        content = bytes(size)
        no_layouts.learn(content, [("x", np.frombuffer(content, np.uint8))])
    assert no_layouts.read(bytes(1)) is None
    assert no_layouts.read(bytes(MAX_LAYOUTS + 1)) is not None
    no_layouts.learn(bytes(1000), [("x", np.zeros(3))])
    assert no_layouts.read(bytes(1000)) is None
