"""Whatever lies in a recording's directory, its rows are read or a `RecordingError` tells why not."""

import hashlib
import random
import struct
import zlib
from pathlib import Path

import msgspec
import pytest

from streammeta.errors import Reason, RecordingError
from streammeta.events import Flaw
from tests.fuzz.inputs import bounded, count, mutated, quick
from tests.recording.samples import read, stream, write

SPICE = [
    b"\0" * 8,
    b"\xff" * 8,
    b"PAR1",
    b"\x15\xff\xff\xff\x7f",
    b"{}",
    b"[]",
    b"null",
    b"-1",
    b"9" * 30,
    b'"',
    b"}",
]
PART, SPOOL, MANIFEST = "part-000000.parquet", "spool", "manifest.json"


@pytest.fixture
def sound(tmp_path: Path) -> dict[str, bytes]:
    """The files of a recording with a part and a spool."""
    records = stream(40)
    flaw = Flaw(Reason.TOO_LARGE, "a bomb", 9)
    records[7] = records[7]._replace(flaw=flaw)
    records[33] = records[33]._replace(flaw=flaw)
    write(tmp_path, records[:25], spooled=records[25:])
    return {name: (tmp_path / name).read_bytes() for name in (PART, SPOOL, MANIFEST)}


def agreeing(manifest: bytes, part: bytes) -> bytes:
    """The manifest with the sums of this part: whoever edits one can edit the other."""
    told = msgspec.json.decode(manifest)
    told["parts"][0] |= {"bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()}
    return msgspec.json.encode(told)


def resealed(spool: bytes) -> bytes:
    """The spool with the right sum of its first frame."""
    if len(spool) < 40:
        return spool
    (size,) = struct.unpack_from("<I", spool, 32)
    body = spool[40 : 40 + size]
    return spool[:36] + struct.pack("<I", zlib.crc32(body)) + spool[40:]


def test_nothing_but_recording_error_is_raised(sound: dict[str, bytes], tmp_path: Path) -> None:
    """Manifests, parts whose sums agree, and spools whose sums agree."""
    chance = random.Random(9)
    whole = 0
    with bounded():
        for _ in range(count(300)):
            files = dict(sound)
            name = chance.choice((PART, PART, SPOOL, MANIFEST))
            files[name] = mutated(sound[name], chance, SPICE)
            if name == PART:
                files[MANIFEST] = agreeing(sound[MANIFEST], files[PART])
            elif name == SPOOL and chance.random() < 0.7:
                files[SPOOL] = resealed(files[SPOOL])
            for each, content in files.items():
                (tmp_path / each).write_bytes(content)
            try:
                with quick(files[name]):
                    whole += len(read(tmp_path)) == 40
            except RecordingError:
                continue
    assert whole > 0
