"""Sinusoid tasks, sent to chosen partitions."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from streammeta.codec import MSGPACK, encode_msgpack
from streammeta.events import episode_of
from tests.brokers.broker import Broker

EVENTS = 600
TASKS = 20


def send(broker: Broker, topic: str, partitions: Sequence[int], events: int = EVENTS) -> Counter[str]:
    """Events of tasks that each have their partition, in turn; how many each task has."""
    arrays, sent = np.random.default_rng(0), Counter[str]()
    for number in range(events):
        task = int(arrays.integers(TASKS))
        x = arrays.uniform(-5, 5, (2, 5, 1)).astype(np.float32)
        y = (1 + task % 5) * np.sin(x + task / TASKS * np.pi)
        value = encode_msgpack(episode_of(x[0], y[0], x[1], y[1]))
        where = partitions[task % len(partitions)]
        headers = [("content-type", MSGPACK.encode())]
        broker.producer.send(topic, value, b"task-%d" % task, headers, where, number)
        sent[f"task-{task}"] += 1
    broker.producer.flush(30)
    return sent


class Sent(NamedTuple):
    """A record."""

    task: str
    value: bytes


def ordered(world: int, partitions: int, each: int) -> list[list[Sent]]:
    """The records of each partition, whose order over a rank's partitions can be read off what it learned.

    In the first partition of each rank few tasks come again and again; in its others each task comes once, so
    that the number of its event is known for ever.
    """
    made = []
    for partition in range(partitions):
        records = []
        for number in range(each):
            one = number % 5 if partition < world else number
            records.append(Sent(f"{partition}/{one}", sinusoid(each * partition + number)))
        made.append(records)
    return made


def sinusoid(number: int) -> bytes:
    """A record of a sine wave that the number draws."""
    draws = np.random.default_rng(number)
    x = draws.uniform(-5, 5, (2, 5, 1)).astype(np.float32)
    y = draws.uniform(0.1, 5) * np.sin(x + draws.uniform(0, np.pi))
    return encode_msgpack(episode_of(*(part.astype(np.float32) for part in (x[0], y[0], x[1], y[1]))))


def as_learned(
    records: Sequence[Sequence[Sent]], rank: int, world: int, last: Mapping[str, int]
) -> list[Sent]:
    """A rank's records in the order in which it learned them; `last`: a task's last event, from 1."""
    once = {last[one.task]: one for of in records[rank + world :: world] for one in of}
    again = iter(records[rank])
    events = len(records[rank]) + len(once)
    return [once[number] if number in once else next(again) for number in range(1, events + 1)]


def put(broker: Broker, topic: str, records: Mapping[int, Iterable[Sent]]) -> None:
    """Send them, in their order, to these partitions."""
    headers = [("content-type", MSGPACK.encode())]
    for partition, of in records.items():
        for number, one in enumerate(of):
            broker.producer.send(topic, one.value, one.task.encode(), headers, partition, number)
    broker.producer.flush(30)
