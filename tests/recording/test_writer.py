"""The writer: any appends, any kills, any restarts leave each row once and in order."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streammeta.errors import RecordingError
from streammeta.recording.manifest import NAME, read_manifest
from streammeta.recording.reader import Recording
from streammeta.recording.writer import Writer
from tests.recording.kills import killed_at_a_system_call
from tests.recording.samples import TOPIC, read, stream, write
from tests.scripted import Fuse

PART_BYTES = 3000
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["append", "append unsynced", "cut", "close"]),
        st.integers(1, 30),
        st.integers(-40, 25),
    ),
    max_size=12,
)


@given(STEPS)
@settings(max_examples=80, deadline=None)
def test_any_appends_and_kills_leave_each_row_once(steps: list[tuple[str, int, int]]) -> None:
    """Killed at any system call of any step; the next life goes on after what it finds."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "recording"
        writer = Writer(directory, "topic", TOPIC, part_bytes=PART_BYTES)
        synced, cuts = 0, set[int]()
        for kind, count, length in steps:
            fuse = Fuse(length)
            with killed_at_a_system_call(fuse):
                if kind == "cut":
                    writer.cut()
                elif kind == "close":
                    writer.close()
                else:
                    writer.append(stream(count, begin=writer.rows))
                if kind in ("append", "cut"):
                    synced = writer.sync()
                    cuts |= {synced} if kind == "cut" and synced else set()
                    writer.roll_if_large()
            if kind in ("close", "append unsynced") or fuse.length == 0:
                if kind != "close" or fuse.length == 0:
                    writer.abandon()
                writer = Writer(directory, "topic", TOPIC, part_bytes=PART_BYTES)
                assert writer.rows >= synced
                synced = writer.rows
            rows = read(directory)
            assert rows == stream(synced)
            assert dict(writer.next) == {record.partition: record.offset + 1 for record in rows}
            assert cuts <= {cut for chunk in Recording(directory).chunks() for cut in chunk.cuts}
        writer.close()
        assert read_manifest(directory).rows == synced
        assert read(directory) == stream(synced)


def test_many_small_syncs_make_no_small_parts(tmp_path: Path) -> None:
    """A thousand commits are one part at the end."""
    writer = Writer(tmp_path, "learned", TOPIC)
    for number in range(1000):
        writer.append(stream(3, begin=3 * number))
        writer.sync()
        writer.roll_if_large()
    writer.close()
    assert [part.rows for part in read_manifest(tmp_path).parts] == [3000]
    assert read(tmp_path) == stream(3000)


@given(kept=st.integers(0, 60))
@settings(max_examples=20, deadline=None)
def test_truncation_takes_rows_of_the_spool_alone(
    kept: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """What is in parts stays: to take it away is refused."""
    directory = write(tmp_path_factory.mktemp("truncated"), stream(20))
    writer = Writer(directory, "topic", TOPIC)
    for begin in range(20, 60):
        writer.append(stream(1, begin=begin))
        writer.sync()
    if kept >= 20:
        writer.truncate(kept)
        assert read(directory) == stream(kept)
        writer.append(stream(5, begin=kept))
        writer.close()
        assert read(directory) == stream(kept + 5)
    else:
        with pytest.raises(RecordingError, match="do not belong together"):
            writer.truncate(kept)
        writer.abandon()


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the remedy; what was synced is there after it."""
    writer = Writer(tmp_path, "topic", TOPIC)
    writer.append(stream(5))
    writer.sync()

    def full(_file: int, _content: bytes) -> int:
        raise OSError(28, "No space left on device")

    writer.append(stream(5, begin=5))
    with monkeypatch.context() as patched:
        patched.setattr("os.write", full)
        with pytest.raises(RecordingError, match=r"No space left on device; make room on the disk"):
            writer.sync()
    writer.abandon()
    assert read(tmp_path) == stream(5)
    assert (tmp_path / NAME).exists()


def test_files_are_the_users_alone(tmp_path: Path) -> None:
    """Whatever the umask, and in a directory that others may look into too; one that is made is closed."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir(mode=0o755)
    before = os.umask(0)
    try:
        for directory in (open_to_all, tmp_path / "new"):
            write(directory, stream(5), spooled=stream(3, begin=5))
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"manifest.json", "part-000000.parquet", "spool", "lock"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
