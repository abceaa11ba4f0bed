"""What lies on the disk: opened by pandas and DuckDB as documented, refused when it was touched."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streammeta.errors import RecordingError, StateLocked
from streammeta.events import Record
from streammeta.recording.manifest import read_manifest
from streammeta.recording.reader import Recording
from streammeta.recording.selection import Bound, Selection, parse_bound
from streammeta.recording.table import SCHEMA, batch_of, records_of
from streammeta.recording.writer import Writer
from tests.recording.samples import RECORDS, TOPIC, read, stream, write

PARTS = (stream(40), stream(50, begin=40), stream(60, begin=90))
WHOLE = [record for part in PARTS for record in part]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A recording of three parts and ten rows in the spool."""
    return write(tmp_path / "recording", *PARTS, spooled=stream(10, begin=150))


@given(st.lists(RECORDS, max_size=6), st.integers(0, 6))
def test_records_come_back_byte_for_byte(records: list[Record], begin: int) -> None:
    """Nulls, empty values, header names that are not UTF-8, also from the middle of a batch."""
    batch = batch_of(records)
    assert records_of(batch, TOPIC) == records
    assert records_of(batch.slice(begin), TOPIC) == records[begin:]


def test_pyarrow_opens_it(directory: Path) -> None:
    """The parts as one table, in the order consumed, with the types of the contract."""
    table = pq.read_table(sorted(directory.glob("part-*.parquet")))
    assert table.schema.remove_metadata() == SCHEMA
    assert table["value"].to_pylist() == [record.value for record in WHOLE]
    assert [[(h["name"], h["value"]) for h in row] for row in table["headers"].to_pylist()] == [
        [(name.encode(), value) for name, value in record.headers] for record in WHOLE
    ]


def test_pandas_opens_it(directory: Path) -> None:
    """As documented: the parts as one table, in the order consumed."""
    pd = pytest.importorskip("pandas")
    table = pd.read_parquet(sorted(directory.glob("part-*.parquet")))
    assert list(table) == ["partition", "offset", "timestamp_ms", "key", "value", "headers"]
    assert table["value"].tolist() == [record.value for record in WHOLE]
    assert table.dtypes[:3].astype(str).tolist() == ["int32", "int64", "int64"]


def test_duckdb_opens_it(tmp_path: Path) -> None:
    """As documented: counted by task, headers as a list of structs, compressed with zstd."""
    duckdb = pytest.importorskip("duckdb")
    odd = Record(TOPIC, 0, 99, 7, b"k", None, (("ce_id", b"\x00"), ("n", None)))
    parts = str(write(tmp_path / "recording", [*WHOLE, odd]) / "part-*.parquet")
    counts = duckdb.execute(
        "select decode(key), count(*) from read_parquet(?) group by 1 order by 1", [parts]
    )
    assert counts.fetchall()[:2] == [("k", 1), ("task-0", 22)]
    row = duckdb.execute('select value, headers from read_parquet(?) where "offset" = 99', [parts]).fetchone()
    assert row == (None, [{"name": b"ce_id", "value": b"\x00"}, {"name": b"n", "value": None}])
    codecs = duckdb.execute("select distinct compression from parquet_metadata(?)", [parts])
    assert codecs.fetchall() == [("ZSTD",)]


def test_the_manifest_tells_what_is_in_it(directory: Path) -> None:
    """Ranges, counts and the sums of the files."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    assert (manifest["format"], manifest["kind"], manifest["topic"]) == (2, "topic", TOPIC)
    assert manifest["rows"] == 150
    assert manifest["offsets"] == {str(p): {"first": 0, "end": 50} for p in range(3)}
    assert manifest["time_ms"] == {"first": 0, "end": 149_001}
    second = manifest["parts"][1]
    content = (directory / "part-000001.parquet").read_bytes()
    assert (second["name"], second["first_row"], second["rows"]) == ("part-000001.parquet", 40, 50)
    assert (second["bytes"], second["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert pq.read_metadata(directory / "part-000001.parquet").num_rows == 50


def test_the_reader_sees_parts_and_spool(directory: Path) -> None:
    """Rows that are no part yet are read too, from any row on."""
    everything = [*WHOLE, *stream(10, begin=150)]
    assert read(directory) == everything
    for first in (1, 39, 40, 149, 155, 160):
        assert read(directory, first) == everything[first:]


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _edit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "why"),
    [(_truncate, "the manifest says"), (_edit, "it was edited"), (Path.unlink, "No such file")],
)
def test_a_harmed_part_is_refused_and_the_others_are_usable(harm: object, why: str, directory: Path) -> None:
    """The part is named with the remedy, which works; ranges that do not touch it work as well."""
    assert callable(harm)
    harm(directory / "part-000001.parquet")
    with pytest.raises(RecordingError, match=rf"part-000001\.parquet.*{why}.*--without part-000001\.parquet"):
        read(directory)
    assert RecordingError.exit_code == 65
    rest = [*PARTS[0], *PARTS[2], *stream(10, begin=150)]
    assert read(directory, selection=Selection(without=frozenset({"part-000001.parquet"}))) == rest
    assert read(directory, selection=Selection(end=Bound("time", 30_000))) == PARTS[0][:30]
    with pytest.raises(RecordingError, match="has no part part-7"):
        read(directory, selection=Selection(without=frozenset({"part-7"})))


EDITS: list[Callable[[dict[str, Any]], object]] = [
    lambda manifest: manifest["parts"].pop(0),
    lambda manifest: manifest["parts"][1].update(first_row=41),
    lambda manifest: manifest["parts"][1].update(offsets={}),
    lambda manifest: manifest["parts"][1].update(name="../elsewhere.parquet"),
    lambda manifest: manifest.update(rows=100),
]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_manifest_is_refused(edit: Callable[[dict[str, Any]], object], directory: Path) -> None:
    """Parts that are not one after the other, all of them, under their own names."""
    manifest = json.loads((directory / "manifest.json").read_bytes())
    edit(manifest)
    (directory / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecordingError, match=r"manifest\.json is damaged"):
        Recording(directory)


def test_a_recording_of_before_is_read_and_gone_on_with(directory: Path) -> None:
    """Format 1 knew of no executors: traced steps learned its rows. Written to, it becomes format 2."""
    path = directory / "manifest.json"
    manifest = json.loads(path.read_bytes()) | {"format": 1}
    for key in ("learner", "compiled"):
        del manifest[key]
    for part in manifest["parts"]:
        del part["executors"]
    path.write_text(json.dumps(manifest))
    recording = Recording(directory)
    assert recording.compiled(Selection()) == {}
    assert {s.compiled for chunk in recording.chunks() for s in chunk.stretches} == {()}
    writer = Writer(directory, "topic", TOPIC)
    writer.append(stream(5, begin=160))
    writer.close()
    assert json.loads(path.read_bytes())["format"] == 2
    assert read(directory) == stream(165)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "damaged"),
        (b'{"format": 1, "id": 3}', "damaged"),
        (b'{"format": 9}', "format 9, this version reads formats 1 to 2"),
    ],
)
def test_a_harmed_manifest_is_refused(content: bytes, said: str, directory: Path) -> None:
    """With what to do; so is a directory without one."""
    (directory / "manifest.json").write_bytes(content)
    with pytest.raises(RecordingError, match=said):
        Recording(directory)
    (directory / "manifest.json").unlink()
    with pytest.raises(RecordingError, match="holds no recording"):
        Recording(directory)
    with pytest.raises(RecordingError, match=r"manifest\.json is gone"):
        Writer(directory, "topic", TOPIC)


def test_a_recording_has_one_writer_and_one_topic(directory: Path) -> None:
    """Another writer is told who writes; another topic, and a daemon, are told to go elsewhere."""
    writer = Writer(directory, "topic", TOPIC)
    with pytest.raises(StateLocked, match=r"recording = .*process \d+ writes to it"):
        Writer(directory, "topic", TOPIC)
    writer.close()
    assert read_manifest(directory).rows == 160
    for kind, topic in (("learned", TOPIC), ("topic", "other")):
        with pytest.raises(RecordingError, match=r"kind 'topic' of topic 'tasks', not of"):
            Writer(directory, kind, topic)  # type: ignore[arg-type]  # both are kinds


def test_a_recording_of_nothing_takes_another_topic(tmp_path: Path) -> None:
    """Who misspelt the topic may say it again; a row in the spool is enough to refuse."""
    for topic in ("misspelt", TOPIC):
        Writer(tmp_path, "topic", topic).close()
    assert read_manifest(tmp_path).topic == TOPIC
    writer = Writer(tmp_path, "topic", TOPIC)
    writer.append(stream(1))
    writer.sync()
    writer.abandon()
    with pytest.raises(RecordingError, match="name another directory"):
        Writer(tmp_path, "topic", "misspelt")


@given(
    begin=st.none() | st.integers(0, 170).map(lambda n: Bound("time", 1000 * n)),
    end=st.none() | st.integers(0, 60).map(lambda n: Bound("offset", n)),
    tasks=st.frozensets(st.integers(0, 8).map(lambda n: b"task-%d" % n), max_size=3),
    after=st.dictionaries(st.integers(0, 2), st.integers(0, 60)),
)
def test_a_selection_is_a_filter(
    begin: Bound | None,
    end: Bound | None,
    tasks: frozenset[bytes],
    after: dict[int, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Whatever is skipped by ranges of parts: the rows are those that meet all conditions."""
    base = tmp_path_factory.getbasetemp() / "selected"
    directory = base if base.exists() else write(base, *PARTS, spooled=stream(10, begin=150))
    wanted = [
        record
        for record in [*WHOLE, *stream(10, begin=150)]
        if (begin is None or record.timestamp_ms >= begin.value)
        and (end is None or record.offset < end.value)
        and (not tasks or record.key in tasks)
        and record.offset >= after.get(record.partition, 0)
    ]
    assert read(directory, selection=Selection(begin, end, tasks, after=after)) == wanted


@pytest.mark.parametrize("text", ["", "-1", "1.5", "yesterday", "2026-11-21", "2026-11-21T08:00:00"])
def test_a_bound_is_an_offset_or_a_time_with_its_zone(text: str) -> None:
    """Anything else is refused with an example."""
    with pytest.raises(ValueError, match=r"2026-11-21T08:00:00Z"):
        parse_bound(text)
