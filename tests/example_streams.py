"""Streams of labelled examples with all that can go wrong in them, and by plain loops what is cut."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from streammeta.codec import MSGPACK
from streammeta.episodes.cutter import Sizes
from streammeta.events import Array, Batch, Episode, Record, TaskEvent

HEADERS = (("content-type", MSGPACK.encode()),)
WILD = 1e200
"""A label that can be cast, but whose loss overflows, whatever is predicted."""


def value_of(**fields: Any) -> bytes:
    """A record's value; arrays as the wire has them."""
    return msgspec.msgpack.encode(
        {
            name: {"dtype": "<f8", "shape": list(value.shape), "data": value.tobytes()}
            if isinstance(value, np.ndarray)
            else value
            for name, value in fields.items()
        }
    )


def make_examples(seed: int, *, partitions: int, tasks: int, records: int) -> list[Record]:
    """Records of one to three examples, of ten, of halves in either order, poisoned, odd and wild ones."""
    draws, arrays = random.Random(seed), np.random.default_rng(seed)
    offsets = dict.fromkeys(range(partitions), 0)
    open_halves: list[tuple[int, str, str, Array]] = []
    script = []
    for number in range(records):
        task, kind = draws.randrange(tasks), draws.random()
        x = arrays.normal(size=(draws.choice((1, 1, 1, 2, 3, 10)), 2))
        y = x[:, :1] * (task + 1)
        if kind < 0.05:
            if draws.random() < 0.5:
                x = np.where(np.arange(2) == 1, np.nan, x)
            else:
                y = np.full_like(y, WILD)
        elif kind < 0.1:
            x = x[:, :1]
        fields: dict[str, Any] = {"x": x, "y": y}
        if kind > 0.8 and open_halves:
            task, name, part, other = open_halves.pop(draws.randrange(len(open_halves)))
            fields = {"id": name, part: other}
        elif kind > 0.6:
            first, later = draws.choice((("x", "y"), ("y", "x")))
            open_halves.append((task, f"id-{number}", later, fields[later]))
            fields = {"id": f"id-{number}", first: fields[first]}
        partition = task % partitions
        offsets[partition] += draws.choice((1, 1, 1, 3))
        value = b"\xc1poison" if 0.1 < kind < 0.15 else value_of(**fields)
        key = f"task-{task}".encode()
        script.append(Record("tasks", partition, offsets[partition], number, key, value, HEADERS))
    return script


@dataclass
class Answer:
    """By plain loops: what is learned from, record by record, for iterations of one episode.

    Attributes:
        events: The episodes learned from, in order.
        refused: Places of the records that are dead letters.
        skipped: Records that only fill a buffer.
        unmatched: Inputs whose labels, or labels whose inputs, did not come in time.
    """

    sizes: Sizes
    task_bound: int
    half_bound: int
    events: list[TaskEvent] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    skipped: int = 0
    unmatched: int = 0
    _held: dict[str, list[tuple[Array, Array]]] = field(default_factory=dict)
    _halves: dict[tuple[str, str], tuple[str, Array, int]] = field(default_factory=dict)
    _since: dict[str, int] = field(default_factory=dict)
    _learned: set[str] = field(default_factory=set)

    def read(self, script: Sequence[Record]) -> "Answer":
        """Feed all records."""
        for place, record in enumerate(script):
            self._record(place, record)
        return self

    def _record(self, place: int, record: Record) -> None:
        number, task = place + 1, (record.key or b"").decode()
        self._expire(number)
        if (record.value or b"").startswith(b"\xc1"):
            self.refused.append(place)
            return
        fields = {name: _array(value) for name, value in msgspec.msgpack.decode(record.value or b"").items()}
        if any(isinstance(v, np.ndarray) and not np.isfinite(v).all() for v in fields.values()):
            self.refused.append(place)
            return
        mate = None
        if "id" in fields:
            (part,) = set(fields) - {"id"}
            mate = self._halves.get((task, fields["id"]))
            if mate is None:
                self._halves[task, fields["id"]] = (part, fields[part], number)
                self._touch(task, number)
                return
            fields = {part: fields[part], mate[0]: mate[1], "id": fields["id"]}
        x, y = fields["x"], fields["y"]
        if x.shape[1] != 2:
            self.refused.append(place)
            return
        self._examples(place, record, [(x[i], y[i]) for i in range(len(x))])
        if "id" in fields and place not in self.refused:
            del self._halves[task, fields["id"]]

    def _touch(self, task: str, number: int) -> None:
        self._since[task] = number
        self.skipped += 1

    def _examples(self, place: int, record: Record, new: list[tuple[Array, Array]]) -> None:
        task, (support, query, stride) = (record.key or b"").decode(), self.sizes
        before = self._held.get(task, [])
        rest, cut = before + new, []
        while len(rest) >= support + query:
            cut.append((rest[:support], rest[support : support + query]))
            rest = rest[stride:]
        self._since[task] = place + 1
        if any(np.abs(y).max() > 1e100 for sets in cut for part in sets for _, y in part):
            self._held[task] = before[stride:]
            self.refused.append(place)
            return
        self._held[task] = rest
        self.skipped += not cut
        for sets in cut:
            self._learned.add(task)
            self.events.append(TaskEvent(task, Episode(*map(_batch, sets)), record.timestamp_ms))

    def _expire(self, number: int) -> None:
        before = len(self._halves)
        for task, since in list(self._since.items()):
            if task not in self._learned and number - since > self.task_bound:
                del self._since[task]
                self._held.pop(task, None)
                self._halves = {key: half for key, half in self._halves.items() if key[0] != task}
        self._halves = {
            key: half for key, half in self._halves.items() if number - half[2] <= self.half_bound
        }
        self.unmatched += before - len(self._halves)


def queries(events: Sequence[TaskEvent]) -> Iterator[tuple[str, bytes]]:
    """Every example of a query set, with its task: inputs are drawn, so no two are equal."""
    for event in events:
        for x in event.episode.query.x:
            yield event.task, x.tobytes()


def _array(value: Any) -> Any:
    if isinstance(value, Mapping):
        return np.frombuffer(value["data"], value["dtype"]).reshape(value["shape"])
    return value


def _batch(examples: Sequence[tuple[Array, Array]]) -> Batch[Array]:
    return Batch(np.stack([x for x, _ in examples]), np.stack([y for _, y in examples]))
