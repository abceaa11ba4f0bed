"""Whatever a fetch brings, reading goes on: batches of all codecs and formats, with right and wrong sums."""

import random

import pytest

from tests.fuzz.inputs import bounded, count, quick
from tests.stream.batches import CODECS, batch, read, signed


@pytest.mark.parametrize("signs", [False, True])
def test_reading_ends_and_goes_on(signs: bool) -> None:
    """Offsets rise, the position lies ahead, and no record lacks both content and a flaw."""
    chance = random.Random(12 + signs)
    with bounded():
        for _ in range(count(300) // 2 or 1):
            magic = chance.choice((2, 2, 2, 1, 0))
            codecs = [codec for codec in CODECS if magic == 2 or codec not in ("lz4", "zstd")]
            values = [chance.randbytes(chance.randrange(50)) for _ in range(chance.randrange(1, 6))]
            content = batch(values, chance.choice(codecs), magic=magic)
            for _ in range(chance.randrange(1, 4)):
                content[chance.randrange(8 if magic == 2 else 0, len(content))] ^= 1 << chance.randrange(8)
            if signs and magic == 2:
                content = signed(content)
            if chance.random() < 0.1:
                del content[chance.randrange(len(content)) :]
            with quick(content):
                records, following = read(content)
            offsets = [record.offset for record in records]
            assert offsets == sorted(set(offsets))
            assert following >= max([*offsets, -1])
            assert all(record.flaw for record in records if record.value is None and record.key is None)
