"""The way out: an episode, or labelled examples, of NumPy arrays as the value of a record."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import msgspec
import numpy as np

from streammeta.codec.tensors import DTYPES
from streammeta.events import Array, Batch, Episode

_NAMES = {dtype: name if dtype.itemsize == 1 else f"<{name}" for name, dtype in DTYPES.items()}


Content = Episode[Array] | Batch[Array]
NOTHING: Mapping[str, float | str] = MappingProxyType({})


def encode_json(
    content: Content, beside: Mapping[str, float | str] = NOTHING, *, labelled: bool = True
) -> bytes:
    """The content as nested lists; floats come back as float64, integers as int64, booleans as bool.

    Args:
        content: An episode, or labelled examples.
        beside: Further fields, for other readers; the learner ignores what it does not know.
        labelled: False leaves out the labels of the query set, or of examples: the record asks for answers.

    Raises:
        ValueError: an array holds NaN or infinity, for which JSON has no form.

    >>> one = np.ones((1, 1), np.float32)
    >>> encode_json(Episode(Batch(one, one), Batch(one, one)))
    b'{"support":{"x":[[1.0]],"y":[[1.0]]},"query":{"x":[[1.0]],"y":[[1.0]]}}'
    >>> encode_json(Batch(one, one), {"id": "7"})
    b'{"x":[[1.0]],"y":[[1.0]],"id":"7"}'
    """
    return msgspec.json.encode({**_body(content, to_lists, labelled), **beside})


def encode_msgpack(
    content: Content, beside: Mapping[str, float | str] = NOTHING, *, labelled: bool = True
) -> bytes:
    """The content with its arrays as raw bytes, in their own dtype, little-endian and C order.

    Args:
        content: An episode, or labelled examples.
        beside: Further fields, for other readers.
        labelled: As for JSON.

    Raises:
        ValueError: a dtype that the contract does not have.
    """
    return msgspec.msgpack.encode({**_body(content, to_map, labelled), **beside})


def _body(content: Content, tensor: Callable[[Array], Any], labelled: bool) -> dict[str, Any]:
    if isinstance(content, Batch):
        return _set(content, tensor, labelled)
    return {"support": _set(content.support, tensor), "query": _set(content.query, tensor, labelled)}


def _set(batch: Batch[Array], tensor: Callable[[Array], Any], labelled: bool = True) -> dict[str, Any]:
    return {"x": tensor(batch.x), "y": tensor(batch.y)} if labelled else {"x": tensor(batch.x)}


def to_lists(array: Array) -> Any:
    """The array as nested lists.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("the array holds NaN or infinity, for which JSON has no form")
    return array.tolist()


def to_map(array: Array) -> dict[str, Any]:
    """The array as MessagePack has it.

    Raises:
        ValueError: a dtype that the contract does not have.
    """
    dtype = array.dtype.newbyteorder("<")
    name = _NAMES.get(dtype)
    if name is None:
        raise ValueError(f"dtype {array.dtype} has no place on the wire; use one of {', '.join(DTYPES)}")
    return {"dtype": name, "shape": array.shape, "data": array.astype(dtype, copy=False).tobytes()}
