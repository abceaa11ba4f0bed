"""The records of a world: most can be learned from; some are faulty, some forget a task or reset it."""

import random
from functools import cache

import numpy as np

from streammeta.codec import CONTROL, MSGPACK, RESET, encode_msgpack
from streammeta.events import Flaw, Record, episode_of
from tests.simulator.broker import TOPIC
from tests.simulator.clock import EPOCH
from tests.simulator.learner import WILD

FIRST_SERIAL = int(EPOCH * 1000)
LETHAL = "lethal"
"""The header of a record that kills who tries it, and where: `decode` or `step`."""
LATELY = 8
"""What is sent again is one of so many records."""
TURNS, TOMBSTONE, RESETS = 29, 11, 23
"""Of so many records, which one is a tombstone, and which a reset; not drawn: plans stay as they were."""
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
    made = Record(TOPIC, 0, 0, FIRST_SERIAL + serial, key, value, headers)
    if serial % TURNS == TOMBSTONE:
        return made._replace(value=None)
    if serial % TURNS == RESETS:
        return made._replace(value=b"{}", headers=(*headers, (CONTROL, RESET)))
    return made


def odd(draws: random.Random, made: Record, sent: list[Record]) -> Record:
    """This record, or in its place one without content, one that kills, or one that was sent before."""
    kind = draws.choice(("",) * 7 + ("flawed", LETHAL, "again", "again"))
    if kind == "flawed":
        flaw = Flaw("too_large", "its batch is too large", 0)
        return made._replace(key=b"%d" % made.timestamp_ms, value=None, headers=(), flaw=flaw)
    if kind == "again" and sent:
        return draws.choice(sent[-LATELY:])._replace(timestamp_ms=made.timestamp_ms)
    if kind == LETHAL and made.key is not None and made.value in _values():
        stage = draws.choice((b"decode", b"step"))
        made = made._replace(headers=(*made.headers, (LETHAL, stage)))
    sent.append(made)
    return made


def lethal(record: Record) -> bytes:
    """Where it kills; nothing where it does not."""
    return dict(record.headers).get(LETHAL) or b""
