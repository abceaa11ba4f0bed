"""Whatever comes from the topic is an event or a `BadEvent`; episodes and single examples alike."""

import random
import re
from collections import Counter

import msgspec
import numpy as np

from streammeta.codec import CONTENT_TYPE, MSGPACK, TIME, decode, decode_examples, encode_json, encode_msgpack
from streammeta.errors import BadEvent, Reason
from streammeta.events import Batch, Record, episode_of
from tests.codec.records import MAX_BYTES, packed, record
from tests.fuzz.inputs import bounded, count, quick

TENSOR = re.compile(rb"\[\[.*?\]\]|\x92\x0a.")
"""A tensor of JSON, a shape of MessagePack."""
SPICE = [b"[", b"]", b"[]", b"{", b"}", b"NaN", b"1e999", b"null", b"true", b'"', b"-", b"9" * 25]
SPICE += [b"support", b"shape", b"<f8", b"\xff", b"\0", b"\x92\0\x01", b"\x92\xff\xff", b"\xcf" + b"\xff" * 8]
SPICE += [b"\xc6\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"]


def seeds(rng: np.random.Generator) -> list[Record]:
    """Valid events of both encodings."""
    made = []
    for dtype in ("f4", "i8", "u1", "bool"):
        x = rng.integers(0, 2, (10, 2)).astype(dtype)
        y = rng.normal(size=(10, 1)).astype(np.float32)
        episode = episode_of(x, y, x[:5], y[:5])
        made.append(
            record(encode_json(episode), (CONTENT_TYPE, b"application/json"), (TIME, b"2026-01-01T00:00:00Z"))
        )
        made.append(record(encode_msgpack(episode), (CONTENT_TYPE, MSGPACK.encode())))
    return made


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Up to three edits: a bit flipped, a slice dropped or doubled, something poisonous put in or over it."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        here, there = sorted(chance.choices(range(len(data) + 1), k=2))
        match chance.choice((0, 0, 0, 1, 2, 3, 4)):
            case 0 if data:
                here = min(here, len(data) - 1)
                data = data[:here] + bytes([data[here] ^ 1 << chance.randrange(8)]) + data[here + 1 :]
            case 1:
                data = data[:here] + data[there:]
            case 2:
                data = data[:there] + data[here:]
            case 3 if tensors := [found.span() for found in TENSOR.finditer(data)]:
                here, there = chance.choice(tensors)
                data = data[:here] + chance.choice(SPICE) + data[there:]
            case _:
                data = data[:here] + chance.choice(SPICE) + data[here:]
    return data


def mutant(origin: Record, chance: random.Random) -> Record:
    """A record that differs in value and now and then in key or headers; every fourth is pure noise."""
    value = (
        chance.randbytes(chance.randrange(200))
        if chance.random() < 0.25
        else mutated(origin.value or b"", chance)
    )
    key = mutated(origin.key or b"", chance) if chance.random() < 0.1 else origin.key
    headers = origin.headers
    if chance.random() < 0.1:
        headers = tuple((name, mutated(content or b"", chance)) for name, content in headers)
    return origin._replace(key=key, value=value, headers=headers)


def test_nothing_but_bad_event_is_raised() -> None:
    """Each record is decoded into finite, matching arrays or refused; both happen often."""
    chance = random.Random(20)
    origins = seeds(np.random.default_rng(20))
    counts: Counter[str] = Counter()
    longest = 0
    with bounded():
        for _ in range(count(10_000)):
            try:
                event = decode(mutant(chance.choice(origins), chance), max_bytes=MAX_BYTES)
            except BadEvent as error:
                counts[error.reason] += 1
                longest = max(longest, len(str(error)))
                continue
            support, query = event.episode
            assert len(support.x) == len(support.y) > 0
            assert support.x.shape[1:] == query.x.shape[1:]
            assert all(np.isfinite(array).all() for array in (*support, *query))
            counts["event"] += 1
    assert counts["event"] > 100
    assert longest < 400
    unreachable = {
        Reason.TOO_LARGE,
        Reason.MISSING_TASK_ID,
        Reason.NON_FINITE_UPDATE,
        Reason.NON_FINITE_PREDICTION,
        Reason.QUARANTINED,
    }
    assert set(counts) >= set(Reason) - unreachable, counts


def test_nothing_but_bad_event_is_raised_for_examples() -> None:
    """Whole examples, halves and ids: each record is decoded or refused, in bounded time and memory."""
    chance = random.Random(21)
    one = np.ones((3, 2), np.float32)
    origins = [
        record(encode_json(Batch(one, one), {"id": "7"})),
        record(b'{"id": 7, "x": [[1.5, 2], [3, 4]]}'),
        record(b'{"y": [1, 0], "id": "seven"}'),
        record(encode_msgpack(Batch(one, one), {"id": "7"}), (CONTENT_TYPE, MSGPACK.encode())),
        record(msgspec.msgpack.encode({"id": 7, "x": packed()}), (CONTENT_TYPE, MSGPACK.encode())),
    ]
    counts: Counter[str] = Counter()
    with bounded():
        for _ in range(count(5_000)):
            tried = mutant(chance.choice(origins), chance)
            try:
                with quick(tried):
                    decode_examples(tried, max_bytes=MAX_BYTES)
                counts["sound"] += 1
            except BadEvent as error:
                counts[error.reason] += 1
    assert min(counts["sound"], counts[Reason.UNDECODABLE], counts[Reason.BAD_TENSOR]) > count(5_000) // 100
