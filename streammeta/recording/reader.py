"""The reader of a recording: its rows from any row on, part by part, each part checked before it is used.

A recording can be read while it is written: what is seen is that of the moment it was opened.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from streammeta.errors import RecordingError
from streammeta.events import Conditions, Record
from streammeta.parquet import examine
from streammeta.recording import spool as spooling
from streammeta.recording.flaws import KEY, Flaws, unpack, with_flaws
from streammeta.recording.manifest import Manifest, Part, Span, Stretch, check_size, checked, read_manifest
from streammeta.recording.part import CUTS
from streammeta.recording.selection import ALL, Selection
from streammeta.recording.spool import Frame, first_row_of, frames_of, stretches_of
from streammeta.recording.table import SCHEMA, Tally, records_of

CHUNK_ROWS: Final = 1024
"""Records that live at a time: with more of them the garbage collector costs more than reading."""
_ATTEMPTS = 5


class Chunk(NamedTuple):
    """Wanted rows that follow each other.

    Attributes:
        rows: Their numbers.
        batch: Their columns, a `pyarrow.RecordBatch`.
        end_row: The row after the last one looked at, wanted or not.
        cuts: Rows before which an iteration ended, among those of the part that the chunk begins.
        stretches: Who learned the rows of that part.
        flaws: Why rows were passed by, of the part or the spool that the chunk is of.
    """

    rows: Sequence[int]
    batch: Any
    end_row: int
    cuts: tuple[int, ...]
    stretches: tuple[Stretch, ...]
    flaws: Flaws

    def records(self, topic: str) -> list[Record]:
        """Its rows, as records of `topic`."""
        records = records_of(self.batch, topic)
        return with_flaws(records, self.rows, self.flaws) if self.flaws else records


class Recording:
    """A recording as it is now.

    Attributes:
        directory: Where it is.
        manifest: Its parts.
        rows: In parts and in the spool.
        next: Partition -> the offset after its last row.
        rewinds: How often offsets went back.
        spooled: What is no part yet.
    """

    def __init__(self, directory: Path) -> None:
        """Open it; nothing but the manifest and the spool is read.

        Raises:
            RecordingError: there is none, or it is damaged.
        """
        self.directory = directory
        self.manifest, self._frames = _together(directory)
        tally = Tally(self.manifest.next)
        for frame in self._frames:
            if frame.batch is not None:
                tally.add(frame.batch)
        self.rows = self.manifest.rows + tally.rows
        self.next: Mapping[int, int] = {**self.manifest.begin, **tally.next}
        self.rewinds = self.manifest.rewinds + tally.rewinds
        self.spooled = tally

    @property
    def id(self) -> str:
        """No other recording has it."""
        return self.manifest.id

    @property
    def time_ms(self) -> Span | None:
        """The range of the records' timestamps; None where there is no record."""
        spans = [span for span in (self.manifest.time_ms, self.spooled.time_ms) if span is not None]
        return reduce(Span.with_span, spans) if spans else None

    def parts(self, selection: Selection) -> list[Part]:
        """The parts that may have wanted rows."""
        unknown = selection.without - {part.name for part in self.manifest.parts}
        if unknown:
            raise RecordingError(f"recording {self.directory} has no part {', '.join(sorted(unknown))}")
        return [part for part in self.manifest.parts if selection.may_hold(part)]

    def check(self, selection: Selection, *, whole: bool = False) -> None:
        """Refuse parts that are gone or truncated; with `whole` edited ones too, which reads them.

        Raises:
            RecordingError: names the part.
        """
        for part in self.parts(selection):
            check_size(self.directory, part)
            if whole:
                checked(self.directory, part)

    def compiled(self, selection: Selection) -> dict[str, Conditions]:
        """The compiled steps that learned what the wanted parts hold."""
        stretches = [stretch for part in self.parts(selection) for stretch in part.stretches]
        names = {name for stretch in (*stretches, *self._spooled_stretches()) for name in stretch.compiled}
        return {name: self.manifest.compiled[name] for name in sorted(names)}

    def _spooled_stretches(self) -> list[Stretch]:
        if not self._frames:
            return []
        return stretches_of(self._frames, self.manifest.rows, self.manifest.compiled_at_end)

    def chunks(self, first_row: int = 0, selection: Selection = ALL) -> Iterator[Chunk]:
        """The wanted rows from `first_row` on, up to `CHUNK_ROWS` at a time.

        Raises:
            RecordingError: a part is gone, truncated or edited; those before it were given.
        """
        for part in self.parts(selection):
            if part.end_row > first_row:
                yield from self._chunks_of(part, first_row, selection)
        begin, stretches = self.manifest.rows, tuple(self._spooled_stretches())
        flaws = {row: flaw for frame in self._frames for row, flaw in frame.flaws.items()}
        for frame in self._frames:
            cuts = tuple(begin + cut for cut in frame.cuts)
            batches = [frame.batch] if frame.batch is not None else []
            yield from _chosen(batches, begin, first_row, (cuts, stretches, flaws), selection)
            stretches = ()
            begin += sum(batch.num_rows for batch in batches)

    def _chunks_of(self, part: Part, first_row: int, selection: Selection) -> Iterator[Chunk]:
        content = checked(self.directory, part)
        try:
            with pq.ParquetFile(pa.BufferReader(content)) as file:
                metadata = file.schema_arrow.metadata or {}
                cuts = msgspec.json.decode(metadata.get(CUTS, b"[]"), type=list[int])
                places = tuple(part.first_row + cut for cut in cuts)
                told = places, part.stretches, unpack(metadata.get(KEY, b"{}"))
                batches = file.iter_batches(_batch_rows(file, content, part))
                yield from _chosen(batches, part.first_row, first_row, told, selection)
        except (pa.ArrowException, ValueError, OSError, RecordingError, msgspec.MsgspecError) as error:
            raise RecordingError(
                f"recording {self.directory}: {part.name} cannot be read: {error}"
            ) from error


def _batch_rows(file: Any, content: bytes, part: Part) -> int:
    """How many rows to read at a time, of a part that is what its manifest says."""
    if not file.schema_arrow.equals(SCHEMA):
        raise RecordingError("its columns are not those of a recording")
    if file.metadata.num_rows != part.rows:
        raise RecordingError(f"it has {file.metadata.num_rows} rows, the manifest says {part.rows}")
    return examine(io.BytesIO(content), len(content), file.metadata, CHUNK_ROWS).batch_rows


def _together(directory: Path) -> tuple[Manifest, list[Frame]]:
    """A manifest and the spool that follows it, also while a writer makes a part."""
    path = directory / spooling.NAME
    for _ in range(_ATTEMPTS):
        manifest = read_manifest(directory)
        content = path.read_bytes() if path.exists() else b""
        begins = first_row_of(content, path) if content else manifest.rows
        frames = list(frames_of(content)) if content and begins == manifest.rows else []
        if begins <= manifest.rows and manifest.compiled.keys() >= {
            n for f in frames for n in f.compiled or ()
        }:
            return manifest, frames
    raise RecordingError(f"recording {directory}: rows {manifest.rows} to {begins} are missing; restore them")


def _chosen(
    batches: Any,
    begin: int,
    first_row: int,
    told: tuple[tuple[int, ...], tuple[Stretch, ...], Flaws],
    selection: Selection,
) -> Iterator[Chunk]:
    """What is wanted of a part or frame; `told`: its cuts, stretches and flaws; the first two once."""
    for whole in batches:
        batch = whole.slice(max(0, first_row - begin))
        number = begin + whole.num_rows - batch.num_rows
        begin += whole.num_rows
        mask = selection.mask(batch) if batch.num_rows else None
        rows: Sequence[int] = range(number, begin)
        if mask is not None:
            rows = (number + mask.nonzero()[0]).tolist()
            batch = batch.filter(pa.array(mask))
        yield Chunk(rows, batch, begin, *told)
        told = (), (), told[2]
    if told[0] or told[1]:
        yield Chunk((), pa.RecordBatch.from_pylist([], schema=SCHEMA), begin, *told)
