"""A part: what is in the spool as a Parquet file, whole on the disk before it has its name."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from streammeta.recording.flaws import KEY, pack
from streammeta.recording.manifest import (
    Manifest,
    Part,
    Span,
    Stretch,
    make_private,
    part_name,
    rename_durably,
)
from streammeta.recording.spool import Frame, stretches_of
from streammeta.recording.table import Tally

CUTS: Final = b"streammeta.cuts"
"""Key of a part's metadata: JSON, the numbers of rows of the part before each cut."""
_ROW_GROUP_ROWS = 65_536
_DICTIONARIES = ["partition", "key", "headers.list.element.name", "headers.list.element.value"]


def write_part(directory: Path, manifest: Manifest, frames: Sequence[Frame], tally: Tally) -> Part:
    """Write the part that follows those of the manifest; `tally` has counted its rows, at least one."""
    name = part_name(len(manifest.parts))
    temporary = directory / (name + ".new")
    batches, cuts = _joined(frames)
    flaws = {row: flaw for frame in frames for row, flaw in frame.flaws.items()}
    metadata = {CUTS: json.dumps(cuts)} | ({KEY: pack(flaws)} if flaws else {})
    table = pa.Table.from_batches(batches).replace_schema_metadata(metadata)
    make_private(temporary)
    pq.write_table(
        table, temporary, compression="zstd", use_dictionary=_DICTIONARIES, row_group_size=_ROW_GROUP_ROWS
    )
    content = temporary.read_bytes()
    _sync_file(temporary)
    rename_durably(temporary, directory / name)
    return Part(
        name=name,
        first_row=manifest.rows,
        rows=table.num_rows,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        offsets=dict(sorted(tally.offsets.items())),
        time_ms=tally.time_ms or Span(0, 0),
        executors=_unsaid(stretches_of(frames, manifest.rows, manifest.compiled_at_end)),
    )


def _unsaid(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Without the first one where it says what an absent one says: traced."""
    return tuple(stretches if stretches[0].compiled else stretches[1:])


def _joined(frames: Sequence[Frame]) -> tuple[list[Any], list[int]]:
    """The batches, and the cuts counted in rows from the first batch on."""
    batches, cuts, rows = [], [], 0
    for frame in frames:
        cuts += [rows + cut for cut in frame.cuts]
        if frame.batch is not None:
            batches.append(frame.batch)
            rows += frame.batch.num_rows
    return batches, sorted(set(cuts))


def _sync_file(path: Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
