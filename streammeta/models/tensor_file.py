"""safetensors files in one canonical form: the same tensors and metadata are the same bytes.

The library orders metadata anew in each process, so the header is written here, as the format's description
says: 8 bytes of its length, little-endian, then JSON, then the tensors without a hole. Larger numbers come
first, so that each tensor lies at a multiple of its item size; then names in order.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Final, NamedTuple

import numpy as np

from streammeta.errors import StreammetaError
from streammeta.events import Array

CODES: Final[Mapping[np.dtype, str]] = {
    np.dtype(kind): code
    for kind, code in {
        "float64": "F64",
        "float32": "F32",
        "float16": "F16",
        "int64": "I64",
        "int32": "I32",
        "int16": "I16",
        "int8": "I8",
        "uint64": "U64",
        "uint32": "U32",
        "uint16": "U16",
        "uint8": "U8",
        "bool": "BOOL",
        "complex64": "C64",
    }.items()
}
"""The numbers that a file can hold."""

LONGEST_HEADER_BYTES: Final = 100_000_000
"""The library refuses to read more."""


class Form(NamedTuple):
    """What a header says of a tensor."""

    dtype: np.dtype
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        """The bytes that it takes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


def form_of(array: Array) -> Form:
    """The array's."""
    return Form(array.dtype, array.shape)


def pieces(
    forms: Mapping[str, Form], read: Callable[[str], Array], metadata: Mapping[str, str]
) -> Iterator[bytes]:
    """The file's bytes, piece by piece: the header, then each tensor, `read` when its turn comes.

    Raises:
        StreammetaError: the header is longer than readers take.
    """
    names = sorted(forms, key=lambda name: (-forms[name].dtype.itemsize, name))
    header = _header({name: forms[name] for name in names}, metadata)
    if len(header) > LONGEST_HEADER_BYTES:
        raise StreammetaError(
            f"a safetensors file names at most {LONGEST_HEADER_BYTES:,} bytes of tensors, these need "
            f"{len(header):,}; write fewer tasks to a file"
        )
    yield len(header).to_bytes(8, "little")
    yield header
    for name in names:
        yield np.ascontiguousarray(read(name), forms[name].dtype.newbyteorder("<")).tobytes()


def packed(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    """The file's bytes at once."""
    return b"".join(
        pieces({name: form_of(array) for name, array in arrays.items()}, arrays.__getitem__, metadata)
    )


def _header(forms: Mapping[str, Form], metadata: Mapping[str, str]) -> bytes:
    document: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    begin = 0
    for name, form in forms.items():
        end = begin + form.size_bytes
        document[name] = {
            "dtype": CODES[form.dtype],
            "shape": list(form.shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)
