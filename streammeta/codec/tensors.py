"""Tensors of the wire: nested lists of JSON, maps of MessagePack. Every refusal is a `BadEvent`.

Invariant: an array that leaves this module has at least one example, no empty axis, finite numbers and a
dtype of the contract; a declared shape alone never makes anything be allocated.
"""

import math
import re
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta, Raw

from streammeta.errors import BadEvent, Reason
from streammeta.events import Array

MAX_AXES = 8
"""A video of colour images has five; whatever declares more is not data."""

NAMES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "bool")
DTYPES = {name: np.dtype(name).newbyteorder("<") for name in NAMES}
_ALIASES = {
    **DTYPES,
    **{f"<{name}": dtype for name, dtype in DTYPES.items() if name != "bool"},
    **{dtype.str: dtype for dtype in DTYPES.values()},
}

Shape = tuple[int, ...]
Form = np.dtype[Any]

_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_OPEN, _CLOSE, _COMMA = b"[],"
_OPENING = re.compile(rb"[\[\s]*")


class TensorMap(msgspec.Struct):
    """A tensor in MessagePack. `data` is a view into the record's value."""

    dtype: str
    shape: Annotated[list[int], Meta(max_length=MAX_AXES)]
    data: memoryview


def _decoders(scalar: Any) -> list[msgspec.json.Decoder[Any]]:
    """One decoder per number of axes: list[scalar], list[list[scalar]] and so on."""
    kinds = accumulate([list] * MAX_AXES, lambda kind, outer: outer[kind], initial=scalar)
    return [msgspec.json.Decoder(kind) for kind in islice(kinds, 1, None)]


_NUMBERS = _decoders(_Integer | float)
_BOOLEANS = _decoders(bool)
_MAP = msgspec.msgpack.Decoder(TensorMap)


def check_count(examples: int, max_examples: int) -> None:
    """Refuse a set so large that its activations would fill memory.

    Raises:
        BadEvent: too_large.
    """
    if examples > max_examples:
        message = (
            f"a set of {examples} examples; events.max_examples = {max_examples}, raise it or send fewer"
        )
        raise BadEvent(Reason.TOO_LARGE, message)


def from_json(raw: Raw, field: str, max_examples: int) -> Array:
    """Nested lists of numbers as float64 if any is written as a float, else int64; all booleans as bool.

    What is certain to be refused is not built: lists take thirty times their bytes.

    Raises:
        BadEvent: bad_tensor, empty_set, non_finite_input, too_large.
    """
    view = memoryview(raw)
    opening = _OPENING.match(view)
    axes = opening.group().count(b"[") if opening else 0
    if not 1 <= axes <= MAX_AXES:
        raise bad_tensor(field, f"expected 1 to {MAX_AXES} nested lists of numbers, got {axes}")
    if len(view) > 2 * axes * max_examples:  # an example has so many characters at least
        _refuse_large(view, field, max_examples)
    try:
        array = np.array(_lists(view, axes, field))
    except ValueError as error:
        raise bad_tensor(field, "the nested lists differ in length") from error
    _refuse_empty(array.shape, field)
    return array


def _refuse_large(view: memoryview, field: str, max_examples: int) -> None:
    """Count the examples, and look for axes without any, in the text."""
    text = np.frombuffer(view, np.uint8)
    opens, closes = text == _OPEN, text == _CLOSE
    depth = np.cumsum(opens.view(np.int8) - closes.view(np.int8), dtype=np.int32)
    check_count(int(np.count_nonzero((text == _COMMA) & (depth == 1))) + 1, max_examples)
    if np.any(opens[:-1] & closes[1:]):
        raise bad_tensor(field, "an axis of it is empty")


def _lists(view: memoryview, axes: int, field: str) -> Any:
    try:
        return _NUMBERS[axes - 1].decode(view)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        numbers_error = error
    try:
        return _BOOLEANS[axes - 1].decode(view)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise _refusal_of(numbers_error, field) from numbers_error


def _refusal_of(error: Exception, field: str) -> BadEvent:
    """A number like 1e999 is infinite; anything else that is no number of 64 bits is a bad tensor."""
    if str(error).startswith("Number out of range"):
        return BadEvent(Reason.NON_FINITE_INPUT, f"{field}: a number beyond float64; leave the event out")
    return bad_tensor(field, str(error))


def from_msgpack(raw: Raw | TensorMap, field: str, _max_examples: int) -> Array:
    """A view of the record's bytes (read-only, any alignment) as declared by `dtype` and `shape`.

    A map that was read together with its record is taken as it is.

    Raises:
        BadEvent: bad_tensor, empty_set, non_finite_input.
    """
    tensor = raw if isinstance(raw, TensorMap) else _map(raw, field)
    dtype = _ALIASES.get(tensor.dtype)
    if dtype is None:
        raise bad_tensor(
            field, f"unknown dtype {tensor.dtype[:20]!r}; use one of {' '.join(NAMES)}, little-endian"
        )
    return sound(_shaped(tensor, dtype, field), field)


def _map(raw: Raw, field: str) -> TensorMap:
    try:
        return _MAP.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise bad_tensor(field, f"{error}; expected {{dtype, shape, data}}") from error


def _shaped(tensor: TensorMap, dtype: np.dtype[Any], field: str) -> Array:
    shape = tensor.shape
    _refuse_empty(shape, field)
    size_bytes = math.prod(shape) * dtype.itemsize
    if size_bytes != len(tensor.data):
        raise bad_tensor(
            field, f"shape {shape} of {dtype} takes {size_bytes} bytes, data has {len(tensor.data)}"
        )
    return np.ndarray(shape, dtype, tensor.data)


def _refuse_empty(shape: Sequence[int], field: str) -> None:
    if shape and min(shape) > 0:
        return
    if not shape:
        raise bad_tensor(field, "a scalar; the first axis counts the examples")
    if shape[0] == 0:
        raise BadEvent(Reason.EMPTY_SET, f"{field}: no examples; send at least one")
    raise bad_tensor(field, f"shape {list(shape)} has an empty or negative axis")


def sound(array: Array, field: str) -> Array:
    """An array of a declared shape, after a look at its data.

    Raises:
        BadEvent: bad_tensor, non_finite_input.
    """
    if array.dtype.kind == "b" and array.view(np.uint8).max() > 1:
        raise bad_tensor(field, "a bool that is neither 0 nor 1")
    return _finite(array, field)


def _finite(array: Array, field: str) -> Array:
    # A search in the bytes takes a third of the time of .all() on sets of ten.
    if array.dtype.kind == "f" and b"\0" in np.isfinite(array).tobytes():
        raise BadEvent(Reason.NON_FINITE_INPUT, f"{field}: holds NaN or infinity; leave the event out")
    return array


def checked(array: Array, field: str) -> Array:
    """An array that a program gives, held to what the wire may bring.

    Raises:
        BadEvent: bad_tensor, empty_set, non_finite_input.
    """
    if array.dtype.kind not in "biuf":
        raise bad_tensor(field, f"dtype {array.dtype}; use numbers or booleans")
    if array.ndim > MAX_AXES:
        raise bad_tensor(field, f"{array.ndim} axes; at most {MAX_AXES}")
    _refuse_empty(array.shape, field)
    return _finite(array, field)


def bad_tensor(field: str, message: str) -> BadEvent:
    """The refusal of one tensor; the message is cut to 200 characters."""
    return BadEvent(Reason.BAD_TENSOR, f"{field}: {message[:200]}")
