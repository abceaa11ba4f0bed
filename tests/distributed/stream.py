"""Sinusoid tasks, sent to chosen partitions."""

from collections import Counter
from collections.abc import Sequence

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
