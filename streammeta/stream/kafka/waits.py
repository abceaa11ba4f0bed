"""Deadlines of our own for what kafka-python would wait for, some of it without end.

A transactional or idempotent producer whose broker froze may never resolve a future again; metadata that is
asked for is waited for until it comes; `close` joins a thread that may hang. So nothing waits for the client
but in one of these ways, and each has a way on:

    what waits                      how long                        and then
    connect                         kafka.connect_timeout_seconds   BrokerUnavailable: again, or the end
    a question (topics, offsets)    `QUESTION_SECONDS` each         asked again until the connect deadline
    poll                            its own timeout                 nothing came
    metadata for one of these       max_block_ms, 5 s               it is begun again
    a dead letter, an answer        delivery_timeout_ms + 5 s       a new producer sends it again
    messages that are published     45 s without acknowledgement    the sending ends, with the counts
    a transaction's end             30 s                            BrokerUnavailable; nothing is sent twice
    a commit for lag tools          not at all; at the end 1 s      given up
    close                           `CLOSE_SECONDS`                 left to the client's daemon threads
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from kafka import errors

T = TypeVar("T")

QUESTION_SECONDS = 15.0
"""How long the client may take to answer one question; its own request timeout is 10 s."""
CLOSE_SECONDS = 5.0
"""How long a client may take to let go of its connections."""


def within(seconds: float, call: Callable[[], T], what: str) -> T:
    """What `call` returns or raises; it runs in a thread that is left alone when it takes too long.

    Raises:
        KafkaTimeoutError: it took longer; `what` is named.
    """
    returned: list[T] = []
    raised: list[Exception] = []

    def attempt() -> None:
        try:
            returned.append(call())
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread, whatever it is
            raised.append(error)

    thread = threading.Thread(target=attempt, name=f"kafka-{what}", daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not returned:
        raise errors.KafkaTimeoutError(f"{what}: no answer within {seconds:g} s")
    return returned[0]


def close_client(client: Any, **options: Any) -> None:
    """Close it; what it still waits for after `CLOSE_SECONDS` is given up. Never raises."""
    with contextlib.suppress(errors.KafkaError, RuntimeError):
        within(CLOSE_SECONDS, lambda: client.close(**options), "close")


def close_producer(producer: Any, *, settled: bool = False) -> None:
    """Let go of a producer, also where the broker hangs; what is not `settled` is given up. Never raises."""
    if not settled:
        # KafkaProducer.close() first waits for every batch; this ends them.
        producer._sender.force_close()
    close_client(producer, timeout=CLOSE_SECONDS / 2)
