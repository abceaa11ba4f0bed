"""Header keys that are not UTF-8, kept byte for byte.

The protocol says that a header key is UTF-8, but no broker checks it, and for one such key kafka-python gives
up the whole partition. Here its bytes are read as lone surrogates (Python's "surrogateescape") and written
back as they were, so that the record can be set aside like any other that cannot be used.
"""

from typing import Any

from kafka.record.default_records import DefaultRecordBatch


class HeaderKey(str):
    r"""A header key whose lone surrogates stand for bytes that are not UTF-8.

    >>> HeaderKey("caf\udce9").encode()
    b'caf\xe9'
    """

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        """The bytes that came; kafka-python measures and writes keys with this."""
        return super().encode(encoding, errors)


class _Slice(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return HeaderKey(super().decode(encoding, errors))


class _LenientBuffer(bytearray):
    """The bytes of a batch; what is cut from it decodes, whatever it holds."""

    def __getitem__(self, where: Any) -> Any:
        cut = super().__getitem__(where)
        return _Slice(cut) if isinstance(where, slice) else cut


_read_strictly = DefaultRecordBatch._read_msg


def _read(batch: Any) -> Any:
    """The next record; from the first bad key on, the rest of the batch is read leniently (and slower)."""
    try:
        return _read_strictly(batch)
    except UnicodeDecodeError:
        batch._buffer = _LenientBuffer(batch._buffer)
        return _read_strictly(batch)  # a failed read has not moved on


def keep_header_keys() -> None:
    """Let kafka-python read them. May be called again.

    A patch, as the parser decodes keys in the middle of one method, and its class cannot be chosen.
    """
    DefaultRecordBatch._read_msg = _read
