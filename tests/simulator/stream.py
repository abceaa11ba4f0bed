"""The records of a world: most can be learned from; some are poison, of another shape, or not finite."""

import random
from functools import cache

import numpy as np

from streammeta.codec import MSGPACK, encode_msgpack
from streammeta.events import Record, episode_of
from tests.simulator.broker import TOPIC
from tests.simulator.clock import EPOCH
from tests.simulator.learner import WILD

FIRST_SERIAL = int(EPOCH * 1000)
_VALUES = 64


@cache
def _values() -> list[bytes]:
    """Whole numbers, so that sums are exact."""
    arrays = np.random.default_rng(0)
    drawn = [arrays.integers(-9, 10, size=(4, 2, 2)).astype(np.float64) for _ in range(_VALUES)]
    return [encode_msgpack(episode_of(one[0], one[1, :, :1], one[2], one[3, :, :1])) for one in drawn]


@cache
def _spoilt(kind: str) -> bytes:
    x = np.ones((2, 3 if kind == "shape" else 2))
    if kind == "wild":
        x[0, 0] = 2 * WILD
    if kind == "nan":
        x[1, 1] = np.nan
    y = np.ones((2, 1))
    return encode_msgpack(episode_of(x, y, x, y))


def record(draws: random.Random, serial: int, task: int) -> Record:
    """The record of this number; its timestamp tells the number, as nothing else of it is its own."""
    kind = draws.choice(("good",) * 16 + ("poison", "shape", "wild", "nan", "keyless"))
    value = draws.choice(_values())
    if kind == "poison":
        value = b"\xc1poison"
    elif kind in ("shape", "wild", "nan"):
        value = _spoilt(kind)
    key = None if kind == "keyless" else f"task-{task}".encode()
    headers = (("content-type", MSGPACK.encode()), ("ce_id", str(serial).encode()))
    return Record(TOPIC, 0, 0, FIRST_SERIAL + serial, key, value, headers)
