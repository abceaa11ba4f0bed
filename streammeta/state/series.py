"""A series of losses as bytes and back: what was detected, then what its detector keeps."""

import struct
from typing import Final

from streammeta.evaluation.adwin import PER_ROW, Adwin
from streammeta.evaluation.drift import BEGUN, Series
from streammeta.evaluation.page_hinkley import PageHinkley

_SERIES: Final = struct.Struct("<B4dQQ2d")  # detector; last, recent, noise, weight; detections … loss_after
_PAGE_HINKLEY: Final = struct.Struct("<Q6d")
_ADWIN: Final = struct.Struct("<QQ2dB")  # seen, width, total, squares, rows
_NONE, _OF_PAGE_HINKLEY, _OF_ADWIN = range(3)


def pack_series(series: Series) -> bytes:
    """Little-endian: nothing before the first loss, 129 bytes with Page–Hinkley, up to 608 with ADWIN."""
    detector, *rest = series
    match detector:
        case PageHinkley():
            return _SERIES.pack(_OF_PAGE_HINKLEY, *rest) + _PAGE_HINKLEY.pack(*detector)
        case Adwin():
            window = _ADWIN.pack(*detector[:4], len(detector.rows))
            return _SERIES.pack(_OF_ADWIN, *rest) + window + b"".join(map(_row, detector.rows))
    return b"" if series is BEGUN else _SERIES.pack(_NONE, *rest)


def unpack_series(packed: bytes) -> Series:
    """The inverse of `pack_series`.

    Raises:
        ValueError: it is damaged.
    """
    if not packed:
        return BEGUN
    try:
        kind, *rest = _SERIES.unpack_from(packed)
        body = packed[_SERIES.size :]
        detector: PageHinkley | Adwin | None = None
        if kind == _OF_PAGE_HINKLEY:
            detector = PageHinkley(*_PAGE_HINKLEY.unpack(body))
        elif kind == _OF_ADWIN:
            detector = _window(body)
        elif kind != _NONE or body:
            raise ValueError(f"detector {kind}")
    except struct.error as error:
        raise ValueError(str(error)) from error
    return Series(detector, *rest)


def _row(buckets: tuple[tuple[float, float], ...]) -> bytes:
    return struct.pack(f"<B{2 * len(buckets)}d", len(buckets), *(n for bucket in buckets for n in bucket))


def _window(body: bytes) -> Adwin:
    seen, width, total, squares, count = _ADWIN.unpack_from(body)
    rows, at = [], _ADWIN.size
    for _ in range(count):
        size = body[at] if at < len(body) else PER_ROW + 1
        if size > PER_ROW:
            raise ValueError(f"a row of {size} buckets")
        numbers = struct.unpack_from(f"<{2 * size}d", body, at + 1)
        rows.append(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
        at += 1 + 16 * size
    if at != len(body):
        raise ValueError(f"{len(body)} bytes where {at} belong")
    return Adwin(seen, width, total, squares, tuple(rows))
