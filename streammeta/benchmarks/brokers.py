"""A broker to measure with, and topics of sinusoid events on it."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

from streammeta.benchmarks.rows import Plan
from streammeta.config import load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.sending.messages import messages
from streammeta.sending.publish import Pace, open_producer, publish
from streammeta.stream.embedded.broker import EmbeddedBroker


class Broker(NamedTuple):
    """Where it is, and what it is called in a row."""

    servers: str
    name: str


@contextmanager
def broker(plan: Plan) -> Iterator[Broker]:
    """The plan's, or the embedded one for as long as the block runs.

    Raises:
        BrokerUnavailable: neither is there.
    """
    if plan.servers:
        yield Broker(plan.servers, f"Kafka at {plan.servers}")
        return
    with EmbeddedBroker() as embedded:
        yield Broker(embedded.bootstrap_servers, "embedded broker")


def new_topic(servers: str, events: int) -> str:
    """A new topic of one partition with so many events, MessagePack."""
    topic = f"bench-{uuid.uuid4().hex[:8]}"
    append(servers, topic, events)
    return topic


def append(servers: str, topic: str, events: int) -> None:
    """So many events more."""
    config = load_config(None, [f"kafka.bootstrap_servers={servers}", f"kafka.topic={topic}"], {})
    pace = Pace(None, time.monotonic, lambda _: False)
    stream = messages(islice(sinusoid(Sinusoids()), events), "msgpack")
    publish(stream, open_producer(config.kafka, 1), config.kafka, pace, time.monotonic)


def reads(servers: str, topic: str) -> list[str]:
    """The settings of a daemon that learns from it."""
    return [
        f"kafka.bootstrap_servers={servers}",
        f"kafka.topic={topic}",
        f"kafka.dead_letter_topic={topic}.dlq",
        f"kafka.group_id={topic}",
    ]
