"""Batches from a hostile producer, or from a disk that is not sound: records or flaws, in bounded memory."""

import random
import tracemalloc

import pytest
from kafka.record.memory_records import MemoryRecordsBuilder

from streammeta.errors import Reason
from streammeta.stream.kafka.batches import MAX_HEADERS
from streammeta.stream.kafka.expansion import Damaged, Expanded, expand
from tests.stream.batches import CODECS, LIMIT_BYTES, batch, read, signed

COMPRESSED = [codec for codec in CODECS if codec != "none"]


@pytest.mark.parametrize("codec", CODECS)
def test_sound_batches_give_their_records(codec: str) -> None:
    """Keys, values, headers, times and offsets come out as they went in, from any offset within."""
    content = batch([b"v%d" % n for n in range(20)], codec) + batch([b"w"], codec, offset=25)
    records, following = read(content, 3)
    assert [record.offset for record in records] == [*range(3, 20), 25]
    assert records[0][3:] == (1_003, b"k3", b"v3", (("h", b"x"),), None)
    assert following == 26


@pytest.mark.parametrize("codec", COMPRESSED)
def test_a_bomb_is_passed(codec: str) -> None:
    """Records before it are given; one that says too_large, with its key, stands in its place; it goes on."""
    content = batch([b"v", bytes(300 << 20 if codec == "zstd" else 30 << 20), b"z"], codec)
    after = batch([b"w"], offset=3)
    tracemalloc.start()
    records, following = read(content + after)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [(record.offset, record.key) for record in records] == [(0, b"k0"), (1, b"k1"), (3, b"k0")]
    flaw = records[1].flaw
    assert flaw is not None
    assert (flaw.reason, flaw.end, flaw.damaged) == (Reason.TOO_LARGE, 3, False)
    assert "offsets 1 to 2" in flaw.message
    assert "kafka.max_batch_bytes = 1048576" in flaw.message
    assert following == 4
    assert peak_bytes < 8 * LIMIT_BYTES + 3 * len(content)


def test_a_block_that_says_more_than_the_limit_is_not_begun() -> None:
    """Snappy's single block tells its size first; nothing is allocated for it."""
    assert expand(CODECS["snappy"], b"\xff\xff\xff\xff\x07\x00", 1_000) == Expanded(bytearray(), False)


def test_snappy_blocks_of_negative_size_end() -> None:
    """They would be read for ever."""
    header = b"\x82SNAPPY\x00\x00\x00\x00\x01\x00\x00\x00\x01"
    with pytest.raises(Damaged):
        expand(CODECS["snappy"], header + (-4).to_bytes(4, signed=True) * 3, 1_000)


@pytest.mark.parametrize("codec", [codec for codec in CODECS if codec not in ("lz4", "zstd")])
@pytest.mark.parametrize("magic", [0, 1])
def test_old_formats(codec: str, magic: int) -> None:
    """Messages of brokers before 0.11 are read; their bombs and ruins are passed."""
    records, following = read(batch([b"a", b"b"], codec, magic=magic))
    assert [record.value for record in records] == [b"a", b"b"]
    assert following == 2
    if codec != "none":
        records, _ = read(batch([bytes(30 << 20)], codec, magic=magic))
        assert [record.flaw.reason for record in records if record.flaw] == [Reason.TOO_LARGE]
    content = batch([b"a"], codec, magic=magic)
    content[-1] ^= 1
    records, following = read(content)
    assert [record.flaw.damaged for record in records if record.flaw] == [True]
    assert following == 1


def test_a_wrong_checksum_is_told_once_and_passed() -> None:
    """One record without content stands for the batch; the next batch is read."""
    content = batch([b"a", b"b"]) + batch([b"c"], offset=2)
    content[70] ^= 1
    records, following = read(content)
    assert [(record.offset, record.value) for record in records] == [(0, None), (2, b"c")]
    flaw = records[0].flaw
    assert flaw is not None
    assert (flaw.damaged, flaw.end) == (True, 2)
    assert flaw.message == "the batch at offsets 0 to 1 is damaged: its checksum is wrong"
    assert following == 3


def test_a_header_that_lies_passes_no_sound_batch() -> None:
    """With a damaged last offset, what follows in the same fetch is read; at its end one offset is passed."""
    content = batch([b"a", b"b"])
    content[24] ^= 0x40  # the last offset is now far away
    records, following = read(content + batch([b"c"], offset=2))
    assert [record.offset for record in records] == [0, 2]
    assert following == 3
    assert read(content)[1] == 1


def test_a_batch_of_garbage_is_its_producers() -> None:
    """With a right checksum a batch that cannot be read is passed whatever `kafka.on_corrupt` says."""
    content = batch([b"a" * 9, b"b"])
    content[61] ^= 0x06  # the length of the first record
    records, following = read(signed(content))
    flaw = records[-1].flaw
    assert flaw is not None
    assert (flaw.reason, flaw.damaged) == (Reason.UNDECODABLE, False)
    assert following == 2


def test_a_record_of_many_headers_is_passed_alone() -> None:
    """Headers cost fifty times their bytes: a record of more is not built, the others are."""
    builder = MemoryRecordsBuilder(2, 0, 1 << 30, 0)
    builder.append(0, b"k", b"v", [("", None)] * (MAX_HEADERS + 1))
    builder.append(0, b"k", b"v", [("", None)] * MAX_HEADERS)
    builder.close()
    records, _ = read(builder.buffer())
    assert [record.flaw.reason if record.flaw else None for record in records] == [Reason.TOO_LARGE, None]


@pytest.mark.parametrize("signs", [False, True])
def test_whatever_the_bytes_reading_goes_on(signs: bool) -> None:
    """Of 1,500 mutated fetches each ends, gives rising offsets and nothing without content or flaw."""
    chance = random.Random(12)
    flaws = 0
    for _ in range(1_500):
        content = batch([chance.randbytes(chance.randrange(50)) for _ in range(5)], chance.choice([*CODECS]))
        for _ in range(chance.randrange(1, 4)):
            content[chance.randrange(23 if signs else 12, len(content))] ^= 1 << chance.randrange(8)
        content = signed(content) if signs else content
        records, following = read(content + batch([b"c", b"d"], offset=5), chance.choice((0, 0, 2)))
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert all(record.flaw for record in records if record.value is None and record.headers == ())
        assert following == 7
        flaws += any(record.flaw is not None for record in records)
    assert flaws > 300
