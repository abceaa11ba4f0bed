"""MessagePack values that differ from an earlier one in the data of their arrays alone, read as that one was.

A producer sends the same structure, dtypes and shapes again and again. Where all other bytes are equal, so is
all that is read from them; what the data themselves decide is looked at in each value.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from streammeta.codec.tensors import Form, Shape, sound
from streammeta.events import Array

MAX_LAYOUTS: Final = 64
"""Layouts kept, one a size of values; the one learned first goes."""


class Layout(NamedTuple):
    """Where the arrays lie in values of one size.

    Attributes:
        frame: (begin, end, content) of what lies between the arrays' data.
        names: Of the arrays.
        arrays: (shape, dtype, offset of the data) of each.
        floats: (dtype, (begin, end) of the data of each array of that dtype); of floating-point ones.
        truths: Whether there are booleans.
    """

    frame: Sequence[tuple[int, int, bytes]]
    names: Sequence[str]
    arrays: Sequence[tuple[Shape, Form, int]]
    floats: Sequence[tuple[Form, Sequence[tuple[int, int]]]]
    truths: bool

    def suspicious(self, value: bytes) -> bool:
        """Whether an array of the value may be refused: looked at all at once, which is cheaper."""
        for dtype, places in self.floats:
            data = b"".join([value[begin:end] for begin, end in places])
            if b"\0" in np.isfinite(np.frombuffer(data, dtype)).tobytes():
                return True
        return self.truths


class Layouts:
    """The layouts met so far, by the size of the value."""

    def __init__(self) -> None:
        self._known: dict[int, Layout] = {}

    def read(self, value: bytes) -> list[Array] | None:
        """The arrays of the value, in the order of `learn`; None where its layout is not known.

        Costs a third of what taking the value apart does.

        Raises:
            BadEvent: bad_tensor, non_finite_input.
        """
        layout = self._known.get(len(value))
        if layout is None:
            return None
        for begin, end, content in layout.frame:
            if value[begin:end] != content:
                return None
        arrays = [np.ndarray(shape, dtype, value, offset) for shape, dtype, offset in layout.arrays]
        return [*map(sound, arrays, layout.names)] if layout.suspicious(value) else arrays

    def learn(self, value: bytes, arrays: Sequence[tuple[str, Array]]) -> None:
        """Read values like this one likewise: a sound one, of which these are the arrays, by name.

        Nothing is learned where they are no views of it.
        """
        begin = _address(np.frombuffer(value, np.uint8))
        spans = [(at := _address(array) - begin, at + array.nbytes) for _, array in arrays]
        edges = [0, *(edge for span in sorted(spans) for edge in span), len(value)]
        if edges != sorted(edges):
            return
        frame = [(start, end, value[start:end]) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        places = [(array.shape, array.dtype, at) for (_, array), (at, _) in zip(arrays, spans, strict=True)]
        floats: dict[Form, list[tuple[int, int]]] = {}
        for (_, array), span in zip(arrays, spans, strict=True):
            if array.dtype.kind == "f":
                floats.setdefault(array.dtype, []).append(span)
        truths = any(array.dtype.kind == "b" for _, array in arrays)
        while len(self._known) >= MAX_LAYOUTS:
            del self._known[next(iter(self._known))]
        self._known[len(value)] = Layout(
            frame, [name for name, _ in arrays], places, [*floats.items()], truths
        )


def _address(array: Array) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
