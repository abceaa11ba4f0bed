"""The records of a run: sinusoid tasks as JSON, and among them poison. Nothing of the package is used."""

import json
from typing import Any, Final, NamedTuple

import numpy as np

from tests.chaos.plan import Size, shape_of

TASKS: Final = 40
PARTITIONS: Final = 4
POISON_SHARE: Final = 0.02
QUERY: Final = 5
SHOTS: Final = (5, 6, 7)
"""Support examples, by shape."""
FIRST_GOOD: Final = 20
"""No poison among so many: of a model that has learned nothing yet, the model itself is suspected."""


class Sent(NamedTuple):
    """A record as it is sent; `partition` None is by key."""

    key: bytes | None
    value: bytes
    headers: list[tuple[str, bytes]]
    partition: int | None
    poison: bool


def record(size: Size, seed: int, number: int, *, again: bool = False) -> Sent:
    """The record of this number; `again`: what stands in its place in a transaction that is aborted."""
    draws = np.random.default_rng([seed, number, again])
    task = int(draws.integers(TASKS))
    episode = _episode(task, SHOTS[shape_of(size, number)], draws)
    key = b"task-%d" % task
    if number >= FIRST_GOOD and draws.random() < POISON_SHARE:
        return _poisoned(key, episode, draws)
    return Sent(key, _json(episode), [], None, False)


def sets_of(value: bytes) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Support and query of a good record, in float64."""
    read = json.loads(value)
    support, query = (
        (np.array(read[name]["x"], np.float64), np.array(read[name]["y"], np.float64))
        for name in ("support", "query")
    )
    return support, query


def _episode(task: int, shots: int, draws: np.random.Generator) -> dict[str, dict[str, Any]]:
    own = np.random.default_rng(task)
    amplitude, phase = own.uniform(0.5, 3.0), own.uniform(0, np.pi)
    episode = {}
    for name, count in (("support", shots), ("query", QUERY)):
        x = draws.uniform(-5, 5, (count, 1))
        episode[name] = {"x": x.tolist(), "y": (amplitude * np.sin(x + phase)).tolist()}
    return episode


def _json(content: object) -> bytes:
    return json.dumps(content).encode()


def _poisoned(key: bytes, episode: dict[str, dict[str, Any]], draws: np.random.Generator) -> Sent:
    """One of eight kinds, each found by another part of the program."""
    kind, partition, headers = int(draws.integers(8)), None, list[tuple[str, bytes]]()
    support = episode["support"]
    at: bytes | None = key
    if kind == 0:
        return Sent(key, _json(episode)[:-9], headers, None, True)
    if kind == 1:
        at, partition = None, int(draws.integers(PARTITIONS))
    elif kind == 2:
        at = b"\xff\xfe"
    elif kind == 3:
        headers = [("content-type", b"text/plain")]
    elif kind == 4:
        support["y"] = support["y"][1:]
    elif kind == 5:
        support["x"], support["y"] = [], []
    elif kind == 6:
        support["x"] = [[x, x] for (x,) in support["x"]]
        episode["query"]["x"] = [[x, x] for (x,) in episode["query"]["x"]]
    else:
        support["y"][0] = [1e300]  # finite, and its square is not
    return Sent(at, _json(episode), headers, partition, True)
