"""The content of a compressed batch, bounded while it is expanded: 22 kB of zstd may say 700 MB.

Invariant: no more than the limit is made, whatever the bytes say, beside what a decoder keeps of its own
(zstd: a window of 128 MiB at most, which its frame must ask for).
"""

import io
import zlib
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import lz4.frame
import snappy
import zstandard

GZIP: Final = 1
SNAPPY: Final = 2
LZ4: Final = 3
ZSTD: Final = 4

_STEP_BYTES = 1 << 20
_ZSTD_WINDOW_BYTES = 1 << 27
_GZIP_WBITS = 31
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_LENGTH_BYTES = 4


class Damaged(ValueError):
    """The bytes are not what the codec makes."""


class Expanded(NamedTuple):
    """What came out: all of it (`whole`), or what comes before the limit."""

    content: bytearray
    whole: bool


def expand(codec: int, data: bytes, limit_bytes: int) -> Expanded:
    """The content of `data`, at most `limit_bytes` of it.

    Raises:
        Damaged: it was not made by the codec, or there is no such codec.
    """
    pieces = _CODECS.get(codec)
    if pieces is None:
        raise Damaged(f"compression {codec} is unknown")
    content = bytearray()
    try:
        for piece in pieces(data, limit_bytes):
            if len(content) + len(piece) > limit_bytes:
                content += piece[: limit_bytes - len(content)]
                return Expanded(content, whole=False)
            content += piece
    except _Beyond:
        return Expanded(content, whole=False)
    except Damaged:
        raise
    except (
        zlib.error,
        EOFError,
        RuntimeError,
        ValueError,
        zstandard.ZstdError,
        snappy.UncompressError,
    ) as error:
        raise Damaged(str(error)[:200]) from error
    return Expanded(content, whole=True)


class _Beyond(Exception):
    """What comes next is larger than the limit, and cannot be had in pieces."""


def _gzip(data: bytes, _limit_bytes: int) -> Iterator[bytes]:
    """Members one after the other; zeros after the last are padding."""
    while data:
        member = zlib.decompressobj(_GZIP_WBITS)
        left = data
        while not member.eof:
            piece = member.decompress(left, _STEP_BYTES)
            left = member.unconsumed_tail
            if not piece and not left and not member.eof:
                raise Damaged("the gzip stream ends early")
            yield piece
        data = member.unused_data.lstrip(b"\0")


def _lz4(data: bytes, _limit_bytes: int) -> Iterator[bytes]:
    while data:
        frame = lz4.frame.LZ4FrameDecompressor()
        left = data
        while not frame.eof:
            piece = frame.decompress(left, _STEP_BYTES)
            left = b""
            if not piece and frame.needs_input and not frame.eof:
                raise Damaged("the lz4 frame ends early")
            yield piece
        data = frame.unused_data or b""


def _zstd(data: bytes, _limit_bytes: int) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
    with decoder.stream_reader(io.BytesIO(data), read_across_frames=True) as reader:
        while piece := reader.read(_STEP_BYTES):
            yield piece


def _snappy(data: bytes, limit_bytes: int) -> Iterator[bytes]:
    """One block, or the blocks of the framing that Java clients write."""
    if not data.startswith(_XERIAL):
        yield _block(data, limit_bytes)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        size_bytes = int.from_bytes(data[at : at + _LENGTH_BYTES], signed=True)
        at += _LENGTH_BYTES
        if not 0 <= size_bytes <= len(data) - at:
            raise Damaged("a snappy block is longer than its batch")
        yield _block(data[at : at + size_bytes], limit_bytes)
        at += size_bytes


def _block(data: bytes, limit_bytes: int) -> bytes:
    """The size that a block expands to stands before it; the library makes room for so much."""
    said_bytes = 0
    for number, byte in enumerate(data[:5]):
        said_bytes |= (byte & 0x7F) << 7 * number
        if byte < 0x80:
            break
    if said_bytes > limit_bytes:
        raise _Beyond
    return bytes(snappy.decompress(data))


_CODECS: dict[int, Callable[[bytes, int], Iterator[bytes]]] = {
    GZIP: _gzip,
    SNAPPY: _snappy,
    LZ4: _lz4,
    ZSTD: _zstd,
}
