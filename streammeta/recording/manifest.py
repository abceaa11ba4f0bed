"""The manifest: which parts a recording has, what is in them, and the sums that tell an edited one.

Invariant: the file is replaced whole, after the parts that it names are on the disk.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

from streammeta.errors import RecordingError
from streammeta.events import Conditions

FORMAT: Final = 2
"""1 knew of no executors: what is in it was learned by traced steps."""
_READ = (1, FORMAT)
NAME: Final = "manifest.json"

Kind = Literal["topic", "learned"]
"""`topic`: as a topic was read; `learned`: as a daemon learned from it, iterations included."""


class Span(msgspec.Struct, frozen=True):
    """Numbers from `first` up to, not with, `end`."""

    first: int
    end: int

    def with_span(self, other: "Span") -> "Span":
        """The smallest span that holds both."""
        return Span(min(self.first, other.first), max(self.end, other.end))


class Stretch(msgspec.Struct, frozen=True):
    """From this row on these compiled steps learned what they were made for; the traced one all else."""

    row: int
    compiled: tuple[str, ...]


class Part(msgspec.Struct, frozen=True):
    """A Parquet file: the rows from `first_row` on.

    Attributes:
        bytes, sha256: Of the file.
        offsets: Partition -> the offsets in it.
        time_ms: The records' timestamps, but for unknown ones; 0 and 0 where all are.
        executors: Who learned its rows, in order, the last perhaps none of them; nothing: the traced step.
    """

    name: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    offsets: dict[int, Span]
    time_ms: Span
    executors: tuple[Stretch, ...] = ()

    @property
    def end_row(self) -> int:
        """The row after its last."""
        return self.first_row + self.rows

    @property
    def stretches(self) -> tuple[Stretch, ...]:
        """Who learned its rows, from the first on."""
        if self.executors and self.executors[0].row == self.first_row:
            return self.executors
        return (Stretch(self.first_row, ()), *self.executors)


class Manifest(msgspec.Struct, frozen=True):
    """A recording, as far as it is in parts.

    Attributes:
        id: No other recording has it.
        topic, topic_id: What was read; the id of the last one where the topic was made anew meanwhile.
        begin: Partition -> the offset at which the recording begins.
        next: Partition -> the offset after its last row.
        passed: Partition -> the offset up to which the topic was read, where that is past `next`: markers of
            transactions, aborted records and compacted gaps are no rows.
        rows, bytes: In the parts; bytes as they lie on the disk.
        offsets, time_ms: The ranges over all parts.
        learner: The settings that learned from the rows, as a hash (`config_hash`); "" for none.
        compiled: Name -> conditions of each compiled step that learned from rows.
        rewinds: How often a partition's offsets went back: the topic was made anew, or truncated.
    """

    id: str
    kind: Kind
    topic: str
    topic_id: str = ""
    begin: dict[int, int] = {}
    next: dict[int, int] = {}
    passed: dict[int, int] = {}
    rows: int = 0
    bytes: int = 0
    offsets: dict[int, Span] = {}
    time_ms: Span | None = None
    learner: str = ""
    compiled: dict[str, Conditions] = {}
    rewinds: int = 0
    parts: tuple[Part, ...] = ()
    format: int = FORMAT

    @property
    def compiled_at_end(self) -> tuple[str, ...]:
        """The compiled steps that learn what follows the last part, as far as is known."""
        return self.parts[-1].stretches[-1].compiled if self.parts else ()

    def with_part(self, part: Part, following: Mapping[int, int], rewinds: int) -> "Manifest":
        """The manifest when `part` is appended; `following` are the positions after it."""
        offsets, timed = dict(self.offsets), part.time_ms.end > 0
        for partition, span in part.offsets.items():
            offsets[partition] = offsets.get(partition, span).with_span(span)
        return msgspec.structs.replace(
            self,
            next={**self.next, **following},
            rows=part.end_row,
            bytes=self.bytes + part.bytes,
            offsets=dict(sorted(offsets.items())),
            time_ms=(self.time_ms or part.time_ms).with_span(part.time_ms) if timed else self.time_ms,
            rewinds=self.rewinds + rewinds,
            format=FORMAT,
            parts=(*self.parts, part),
        )


def read_manifest(directory: Path) -> Manifest:
    """The manifest of the recording in `directory`.

    Raises:
        RecordingError: there is none, it is damaged, or of a newer version.
    """
    path = directory / NAME
    try:
        content = path.read_bytes()
        written = msgspec.json.decode(content, type=dict[str, object]).get("format")
        if written in _READ:
            return _consistent(msgspec.json.decode(content, type=Manifest))
    except (FileNotFoundError, NotADirectoryError):
        raise RecordingError(f"{directory} holds no recording: {NAME} is not there") from None
    except OSError as error:
        raise RecordingError(f"{path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise RecordingError(
            f"{path} is damaged ({error}); restore it from a copy. The parts beside it can be opened alone"
        ) from error
    raise RecordingError(
        f"{path} has format {written}, this version reads formats 1 to {FORMAT}; use the version "
        "that wrote it"
    )


def _consistent(manifest: Manifest) -> Manifest:
    """It, when its parts follow each other and are all of it.

    Raises:
        ValidationError: they are not.
    """
    row = 0
    for number, part in enumerate(manifest.parts):
        rows = [stretch.row for stretch in part.executors]
        if rows != sorted(rows) or (rows and not part.first_row <= rows[0] <= rows[-1] <= part.end_row):
            raise msgspec.ValidationError(f"part {number}: its executors are in no order")
        if part.name != part_name(number) or part.first_row != row or part.rows < 1 or not part.offsets:
            raise msgspec.ValidationError(f"part {number} does not follow what is before it, or is empty")
        row = part.end_row
    if row != manifest.rows:
        raise msgspec.ValidationError(f"it says {manifest.rows} rows, its parts have {row}")
    return manifest


def part_name(number: int) -> str:
    """The file of a part; the first has number 0."""
    return f"part-{number:06d}.parquet"


def write_manifest(directory: Path, manifest: Manifest) -> None:
    """Replace the manifest, durably."""
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    replace_durably(directory / NAME, content + b"\n")


def replace_durably(path: Path, content: bytes) -> None:
    """Make `content` the whole file: after a crash it is the old one or this one."""
    temporary = path.with_name(path.name + ".new")
    make_private(temporary)
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    rename_durably(temporary, path)


def make_private(path: Path) -> None:
    """Make the file anew, empty: for this user alone, whatever directory it is in."""
    path.unlink(missing_ok=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def rename_durably(temporary: Path, path: Path) -> None:
    """Give a file that is on the disk its name, durably."""
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


MOST_PART_BYTES: Final = 1 << 30
"""A part is read whole; ours have some 100 MB at most."""


def checked(directory: Path, part: Part) -> bytes:
    """The part's content, which is what was written.

    Raises:
        RecordingError: it is gone, truncated or edited.
    """
    check_size(directory, part)
    if part.bytes > MOST_PART_BYTES:
        raise _damaged(directory, part, f"it has {part.bytes} bytes; none of ours has {MOST_PART_BYTES}")
    content = (directory / part.name).read_bytes()
    if hashlib.sha256(content).hexdigest() != part.sha256:
        raise _damaged(directory, part, "its SHA-256 is not that of the manifest: it was edited")
    return content


def check_size(directory: Path, part: Part) -> None:
    """What can be told without reading. Raises as `checked`."""
    try:
        size_bytes = (directory / part.name).stat().st_size
    except OSError as error:
        raise _damaged(directory, part, str(error.strerror)) from error
    if size_bytes != part.bytes:
        raise _damaged(directory, part, f"it has {size_bytes} bytes, the manifest says {part.bytes}")


def _damaged(directory: Path, part: Part, why: str) -> RecordingError:
    return RecordingError(
        f"recording {directory}: {part.name} cannot be used ({why}). Restore it from a copy, or leave it "
        f"out: --without {part.name}"
    )
