"""The spool: rows that are in no part yet, frame by frame, so that small commits make no small parts.

    file   = 16 bytes of magic, u64 first row, frames
    frame  = u32 rows, u32 cuts, u32 body bytes, u32 crc32 of the body
    body   = cuts (u32 each, the rows of the frame before each), an Arrow record batch as an IPC message;
             of a frame that says 2^32 - 1 rows: JSON, the compiled steps that learned what follows;
             of one that says 2^32 - 2 rows: JSON, the `flaws` of rows in the frames that follow

All little-endian. Invariant: what `sync` follows is on the disk when it returns. A tail that a crash has torn
is no frame: readers stop before it, the writer drops it.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from streammeta.errors import RecordingError
from streammeta.recording.flaws import Flaws, pack, unpack
from streammeta.recording.manifest import Stretch, replace_durably
from streammeta.recording.table import SCHEMA

NAME: Final = "spool"
_MAGIC: Final = b"streammeta spool"
_HEAD = struct.Struct("<16sQ")
_FRAME = struct.Struct("<IIII")
_EXECUTORS: Final = 2**32 - 1
_FLAWS: Final = 2**32 - 2


class Frame(NamedTuple):
    """Some rows and the cuts among them: each the number of rows of the frame before it.

    Or no rows, and who learned those that follow, or why some of them were passed by.
    """

    batch: Any
    cuts: tuple[int, ...]
    end_byte: int
    compiled: tuple[str, ...] | None = None
    flaws: Flaws = MappingProxyType({})


def frames_of(content: bytes) -> Iterator[Frame]:
    """The whole frames of a spool, up to the first one that is torn."""
    begin = _HEAD.size
    while begin + _FRAME.size <= len(content):
        rows, cuts, body_bytes, crc = _FRAME.unpack_from(content, begin)
        begin += _FRAME.size
        body = content[begin : begin + body_bytes]
        if len(body) != body_bytes or zlib.crc32(body) != crc:
            return
        begin += body_bytes
        if rows == _EXECUTORS:
            yield Frame(None, (), begin, _names(body))
            continue
        if rows == _FLAWS:
            yield Frame(None, (), begin, flaws=unpack(body))
            continue
        yield Frame(*_content(body, rows, cuts), begin)


def _content(body: bytes, rows: int, cuts: int) -> tuple[Any, tuple[int, ...]]:
    """The rows and the cuts of a frame whose sum is right.

    Raises:
        RecordingError: it was not written by a spool.
    """
    try:
        places = np.frombuffer(body, "<u4", cuts).tolist()
        batch = pa.ipc.read_record_batch(pa.py_buffer(body[4 * cuts :]), SCHEMA) if rows else None
        if batch is not None:
            batch.validate(full=True)  # a forged one may point outside of its bytes
    except (ValueError, OSError, EOFError, pa.ArrowException) as error:
        raise RecordingError(f"the spool of the recording is damaged: {error}") from error
    if batch is not None and batch.num_rows != rows:
        raise RecordingError(
            f"the spool of the recording is damaged: {batch.num_rows} rows instead of {rows}"
        )
    return batch, tuple(places)


def _names(body: bytes) -> tuple[str, ...]:
    try:
        return msgspec.json.decode(body, type=tuple[str, ...])
    except msgspec.MsgspecError as error:
        raise RecordingError(f"the spool's list of compiled steps is damaged: {error}") from error


def stretches_of(frames: Iterable[Frame], row: int, before: tuple[str, ...]) -> list[Stretch]:
    """Who learned the rows of these frames: `row` is the first of them, `before` who learned those before."""
    stretches = [Stretch(row, before)]
    for frame in frames:
        row += _rows(frame)
        if frame.compiled is not None:
            if stretches[-1].row == row:
                stretches.pop()
            stretches.append(Stretch(row, frame.compiled))
    return stretches


def first_row_of(content: bytes, path: Path) -> int:
    """The row that the spool begins with.

    Raises:
        RecordingError: this is no spool.
    """
    if len(content) < _HEAD.size or not content.startswith(_MAGIC):
        raise RecordingError(f"{path} is damaged; restore it from a copy, or remove it to lose its rows")
    return int(_HEAD.unpack_from(content)[1])


class Spool:
    """The writer's side; the caller holds the recording's lock."""

    def __init__(self, directory: Path, first_row: int) -> None:
        """Open the spool that begins with `first_row`, or make it; one that has become a part is replaced.

        Raises:
            RecordingError: it is damaged, or rows before it are missing.
        """
        self._path = directory / NAME
        self.first_row = first_row
        self.frames: list[Frame] = []
        content = self._path.read_bytes() if self._path.exists() else b""
        begins = first_row_of(content, self._path) if content else -1
        if begins > first_row:
            raise RecordingError(
                f"recording {directory}: rows {first_row} to {begins} are missing; restore them"
            )
        if begins < first_row:
            replace_durably(self._path, _HEAD.pack(_MAGIC, first_row))
        else:
            self.frames = list(frames_of(content))
        self._file = os.open(self._path, os.O_RDWR | os.O_APPEND)
        os.ftruncate(self._file, self.size_bytes)

    @property
    def size_bytes(self) -> int:
        """Length of the file."""
        return self.frames[-1].end_byte if self.frames else _HEAD.size

    @property
    def rows(self) -> int:
        """How many it holds."""
        return sum(_rows(frame) for frame in self.frames)

    def append(self, batch: Any, cuts: tuple[int, ...]) -> None:
        """Hand a frame to the operating system; `batch` is None for cuts alone."""
        message = batch.serialize().to_pybytes() if batch is not None else b""
        body = np.array(cuts, "<u4").tobytes() + message
        rows = batch.num_rows if batch is not None else 0
        self._write(_FRAME.pack(rows, len(cuts), len(body), zlib.crc32(body)) + body)
        self.frames.append(Frame(batch, cuts, self.size_bytes + _FRAME.size + len(body)))

    def append_flaws(self, flaws: Flaws) -> None:
        """Hand over the flaws of rows that are appended next."""
        body = pack(flaws)
        self._write(_FRAME.pack(_FLAWS, 0, len(body), zlib.crc32(body)) + body)
        end_byte = self.size_bytes + _FRAME.size + len(body)
        self.frames.append(Frame(None, (), end_byte, flaws=flaws))

    def serve(self, compiled: tuple[str, ...]) -> None:
        """Hand over who learned what follows."""
        body = json.dumps(compiled).encode()
        self._write(_FRAME.pack(_EXECUTORS, 0, len(body), zlib.crc32(body)) + body)
        self.frames.append(Frame(None, (), self.size_bytes + _FRAME.size + len(body), compiled))

    def _write(self, frame: bytes) -> None:
        written = 0
        while written < len(frame):
            written += os.write(self._file, memoryview(frame)[written:])

    def sync(self) -> None:
        """Return when all that was appended is on the disk."""
        os.fsync(self._file)

    def truncate(self, rows: int) -> None:
        """Keep the first `rows` rows, which end with a frame.

        Raises:
            RecordingError: they do not.
        """
        kept = 0
        while kept < len(self.frames) and rows > 0:
            rows -= _rows(self.frames[kept])
            kept += 1
        if rows:
            raise RecordingError(
                f"{self._path} does not hold what the state says that it holds; name a new directory"
            )
        del self.frames[kept:]
        os.ftruncate(self._file, self.size_bytes)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _rows(frame: Frame) -> int:
    return frame.batch.num_rows if frame.batch is not None else 0
