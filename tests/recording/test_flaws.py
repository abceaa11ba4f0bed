"""Records that were passed by: a recording tells which and why; hostile parts are refused, not unpacked."""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streammeta import parquet as parquet_file
from streammeta.errors import Reason, RecordingError
from streammeta.events import Flaw, Record
from streammeta.recording.reader import Recording
from streammeta.recording.table import SCHEMA
from streammeta.recording.writer import Writer
from tests.recording.samples import TOPIC, read, stream, write


def with_flaws(records: list[Record]) -> list[Record]:
    """The same; every fifth was passed by."""
    flaw = Flaw(Reason.TOO_LARGE, "a bomb", 9)
    odd = Flaw(Reason.BAD_TENSOR, "it killed two processes", 3, stage="step")
    return [one._replace(flaw=(flaw, odd)[n % 2]) if n % 5 == 0 else one for n, one in enumerate(records)]


def test_flaws_come_back(tmp_path: Path) -> None:
    """From parts and from the spool, with any first row, and after the spool has become a part."""
    records = with_flaws(stream(60))
    write(tmp_path, records[:20], records[20:21], spooled=records[21:])
    assert read(tmp_path) == records
    assert read(tmp_path, 33) == records[33:]
    Writer(tmp_path, "topic", TOPIC).close()
    assert read(tmp_path) == records


def test_a_flaw_without_its_row_hits_no_other(tmp_path: Path) -> None:
    """A crash may leave a flaw whose row was never written: another record that takes the row is sound."""
    records = stream(10)
    write(tmp_path, spooled=records[:4])
    writer = Writer(tmp_path, "topic", TOPIC)
    flaw = Flaw(Reason.TOO_LARGE, "lost", 9)
    writer.append([records[4]._replace(flaw=flaw)])
    writer._spool.append_flaws(writer._flaws)
    writer.abandon()
    writer = Writer(tmp_path, "topic", TOPIC)
    writer.append(records[5:])
    writer.sync()
    writer.abandon()
    assert read(tmp_path) == [*records[:4], *records[5:]]


def forged(directory: Path, content: bytes, rows: int | None = None) -> Recording:
    """A recording of one part whose bytes are these, with the sums of a manifest that agrees."""
    (directory / "spool").unlink()
    (directory / "part-000000.parquet").write_bytes(content)
    path = directory / "manifest.json"
    manifest = json.loads(path.read_bytes())
    part = manifest["parts"][0]
    part |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    if rows is not None:
        part["rows"] = manifest["rows"] = rows
    path.write_bytes(msgspec.json.encode(manifest))
    return Recording(directory)


def parquet(table: Any, **options: Any) -> bytes:
    """The table as a file."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", **options)
    return buffer.getvalue()


def rows_of(value: Any, count: int, headers: Any = None) -> Any:
    """So many rows with this value."""
    columns = [
        pa.array([0] * count, pa.int32()),
        pa.array(range(count), pa.int64()),
        pa.array([0] * count, pa.int64()),
        pa.array([b"k"] * count, pa.binary()),
        value,
        pa.array([headers or []] * count, SCHEMA.field("headers").type),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def page_bomb() -> bytes:
    """A few hundred bytes that are one value of three MB."""
    return parquet(rows_of(pa.array([bytes(3 << 20)], pa.binary()), 1), use_dictionary=False)


def wrong_types() -> bytes:
    """An offset that is text."""
    table = rows_of(pa.array([b"v"] * 3, pa.binary()), 3)
    return parquet(table.set_column(1, "offset", pa.array(["a", "b", "c"])))


def many_headers() -> bytes:
    """A row of twenty headers."""
    return parquet(rows_of(pa.array([b"v"], pa.binary()), 1, [{"name": b"", "value": None}] * 20))


HOSTILE: list[tuple[Callable[[], bytes], int, str]] = [
    (page_bomb, 1, "column value: a page of 3145"),
    (many_headers, 1, "column headers.list.element.name: 20 values; at most 10 are read"),
    (wrong_types, 3, "its columns are not those of a recording"),
    (lambda: parquet(rows_of(pa.array([b"v"] * 5, pa.binary()), 5)), 3, "it has 5 rows, the manifest says 3"),
    (lambda: b"PAR1" + bytes(100) + b"PAR1", 3, "cannot be read"),
]


@pytest.mark.parametrize(("make", "rows", "said"), HOSTILE)
def test_a_hostile_part_is_refused(
    make: Callable[[], bytes], rows: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bombs, wrong types, wrong row counts: the part is named, and Arrow never unpacks it."""
    monkeypatch.setattr(parquet_file, "PAGE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_file, "NESTED_VALUES", 10)
    content = make()
    write(tmp_path, stream(3))
    pool = pa.default_memory_pool()
    before = pool.bytes_allocated()
    with pytest.raises(RecordingError, match=r"part-000000\.parquet") as told:
        list(forged(tmp_path, content, rows).chunks())
    assert said in str(told.value)
    assert pool.bytes_allocated() - before < 1 << 20


def test_a_dictionary_that_rows_repeat_is_read_in_few_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large value that 500 rows name is read two rows at a time, not 500 times at once."""
    monkeypatch.setattr(parquet_file, "BATCH_BYTES", 1 << 20)
    table = rows_of(pa.array([bytes(1 << 19)[:-50]] * 500, pa.binary()), 500)
    content = parquet(table, write_statistics=False)
    assert len(content) < 1 << 14
    write(tmp_path, stream(3))
    first = next(forged(tmp_path, content, 500).chunks())
    assert len(first.rows) == 2
