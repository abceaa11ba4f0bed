"""Header keys that are not UTF-8, kept byte for byte.

The protocol says that a header key is UTF-8, but no broker checks it, and for one such key kafka-python gives
up the whole partition. Its bytes are read as lone surrogates (Python's "surrogateescape", see `batches`) and
written back as they were, so that the record can be set aside like any other that cannot be used.
"""


class HeaderKey(str):
    r"""A header key whose lone surrogates stand for bytes that are not UTF-8.

    >>> HeaderKey("caf\udce9").encode()
    b'caf\xe9'
    """

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        """The bytes that came; kafka-python measures and writes keys with this."""
        return super().encode(encoding, errors)
