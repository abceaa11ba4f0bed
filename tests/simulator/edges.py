"""Where the Kafka room touches the machine: kafka-python's clients, the clock, threads that wait.

They are replaced for the time of a world, as the room makes its clients itself and reads the clock where it
waits. Everything else in a life is given to the runtime as an argument.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from unittest.mock import patch

from kafka import errors

from streammeta.codec import decode
from streammeta.events import Record
from streammeta.runtime import reading
from streammeta.stream.kafka import (
    access,
    held,
    outbox,
    reader,
    runs,
    served,
    source,
    topics,
    waits,
    watch,
)
from streammeta.stream.kafka.access import KafkaSettings
from tests.scripted import Killed
from tests.simulator.broker import Broker
from tests.simulator.clients import SimulatedConnected
from tests.simulator.clock import Clock
from tests.simulator.stream import lethal

T = TypeVar("T")

TIMED = access, held, outbox, reader, runs, served, topics, watch
"""The modules that read the clock."""


class SteppedWatch(watch.Watch):
    """The real watch; its thread is an appointment with the clock, and what it asks takes it no time."""

    def __init__(self, settings: KafkaSettings, clock: Callable[[], float], broker: Broker) -> None:
        super().__init__(settings, clock)
        self._broker, self._life, self._asked = broker, broker.life, False
        self._ended = threading.Event()

    def follow(self, ends: Mapping[int, int]) -> None:
        """As `Watch.follow`."""
        self._partitions |= set(ends)
        self.seen = replace(self.seen, ends={**self.seen.ends, **ends})
        if not self._asked:
            self._asked = True
            self._broker.clock.at(self._broker.clock.now, self._step)

    def _step(self) -> None:
        if self._ended.is_set() or self._life != self._broker.life:
            return
        if self._broker.serving or self._broker.refusing:
            self._look()
            self._again(watch.LOOK_SECONDS, self._step)
        else:
            self._again(watch.ANSWER_SECONDS, self._unanswered)

    def _unanswered(self) -> None:
        self._failed(errors.KafkaTimeoutError("no answer"))
        self._hang_up()
        self._again(watch.LOOK_SECONDS, self._step)

    def _again(self, seconds: float, then: Callable[[], None]) -> None:
        self._broker.clock.at(self._broker.clock.now + seconds, then)

    def close(self) -> None:
        """As `Watch.close`."""
        self._ended.set()


class _VirtualTime:
    """The clock, for what happens by itself too: there nobody is killed."""

    def __init__(self, clock: Clock) -> None:
        self.monotonic, self.time, self.sleep = clock.monotonic, clock.time, clock.sleep


def _within(seconds: float, call: Callable[[], T], what: str) -> T:  # noqa: ARG001 (as the real one)
    """The simulated clients keep their own deadlines."""
    return call()


def _decode(record: Record, **limits: Any) -> object:
    if record.flaw is None and lethal(record) == b"decode":
        raise Killed
    return decode(record, **limits)


@contextmanager
def simulated(broker: Broker) -> Iterator[None]:
    """While this lasts the Kafka room knows no broker but this one, and no other time."""
    with ExitStack() as stack:
        for module in TIMED:
            stack.enter_context(patch.object(module, "time", _VirtualTime(broker.clock)))
        for module in (waits, topics, watch):
            stack.enter_context(patch.object(module, "within", _within))
        stack.enter_context(patch.object(reading, "decode", _decode))
        stack.enter_context(patch.object(access, "Connected", partial(SimulatedConnected, broker)))
        stack.enter_context(patch.object(source, "Watch", partial(SteppedWatch, broker=broker)))
        yield
