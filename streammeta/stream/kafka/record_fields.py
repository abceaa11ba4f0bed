"""Fields of a record in Kafka's format 2, each with its length before it; none reaches beyond its buffer."""

from kafka.record.util import decode_varint

from streammeta.stream.kafka.header_keys import HeaderKey


def field_at(buffer: bytearray, at: int) -> tuple[bytes | None, int]:
    """A field with its length before it; None where that is negative."""
    size_bytes, at = decode_varint(buffer, at)
    if size_bytes < 0:
        return None, at
    if at + size_bytes > len(buffer):
        raise IndexError("a field is longer than its record")
    return bytes(memoryview(buffer)[at : at + size_bytes]), at + size_bytes


def headers_at(buffer: bytearray, at: int, count: int) -> tuple[list[tuple[str, bytes | None]], int]:
    """So many headers, and where they end. Raises as `field_at`."""
    headers = []
    for _ in range(count):
        name, at = field_at(buffer, at)
        content, at = field_at(buffer, at)
        if name is None:
            raise ValueError("a header without a name")
        headers.append((_text(name), content))
    return headers, at


def _text(name: bytes) -> str:
    """A header's name; bytes that are not UTF-8 as lone surrogates."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return HeaderKey(name.decode("utf-8", "surrogateescape"))
