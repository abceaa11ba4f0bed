"""Two consumers as an engineer writes them in an afternoon: kafka-python, a learner, a file now and then.

What they lack: a restart goes on from the last file, so events are learned twice; no metrics, no page, no
dead letters. They are the cheapest thing that learns from the same topic.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from kafka import KafkaConsumer, TopicPartition

from streammeta.benchmarks.peers.numpy_moml import NumpyMoml
from streammeta.benchmarks.peers.problem import Problem
from streammeta.benchmarks.peers.torchopt_maml import TorchoptMaml
from streammeta.events import Array, Episode, episode_of

SAVE_EVENTS = 1000
"""Events between two files, as between the daemon's checkpoints."""


class _Tensor(msgspec.Struct):
    dtype: str
    shape: list[int]
    data: bytes

    def array(self) -> Array:
        return np.frombuffer(self.data, self.dtype).reshape(self.shape).copy()


class _Examples(msgspec.Struct):
    x: _Tensor
    y: _Tensor


class _Value(msgspec.Struct):
    support: _Examples
    query: _Examples


class Inbox:
    """A problem of one event, replaced by what comes next: so any peer learns from a stream."""

    def __init__(self, made: Problem) -> None:
        self.problem = Problem([0], [made.episodes[0]], made.known, made.initial)
        self._numbers: dict[bytes, int] = {}

    def put(self, key: bytes, episode: Episode[Array]) -> None:
        """What event number 0 is from now on."""
        self.problem.tasks[0] = self._numbers.setdefault(key, len(self._numbers))
        self.problem.episodes[0] = episode


def consume(
    servers: str, topic: str, events: int, inbox: Inbox, learner: NumpyMoml | TorchoptMaml, path: Path
) -> float:
    """Learn from the first `events` records of a topic; seconds an event, from the first one learned on.

    Args:
        servers: Brokers to ask.
        topic: MessagePack episodes.
        events: How many records it holds.
        inbox: What the learner looks into.
        learner: A peer over `inbox.problem`.
        path: Where its state is saved every `SAVE_EVENTS` events.
    """
    decode = msgspec.msgpack.Decoder(_Value).decode
    began, learned = 0.0, 0
    for record in _records(servers, topic, events):
        value = decode(record.value)
        sets = (value.support.x, value.support.y, value.query.x, value.query.y)
        inbox.put(record.key, episode_of(*(tensor.array() for tensor in sets)))
        learner(0)
        learned += 1
        began = began or time.perf_counter()
        if learned % SAVE_EVENTS == 0:
            np.savez(path, **learner.state())  # type: ignore[arg-type]  # its stub takes a flag among arrays
    return (time.perf_counter() - began) / (learned - 1)


def _records(servers: str, topic: str, events: int) -> Iterator[Any]:
    consumer = KafkaConsumer(bootstrap_servers=servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        left = events
        while left > 0:
            for records in consumer.poll(1000).values():
                yield from records
                left -= len(records)
    finally:
        consumer.close()
