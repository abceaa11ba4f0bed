"""Predictions over HTTP: how long one takes beside a learner at full speed, what that costs it, and lists.

The daemon is that of `pages`: in a process of its own, 10,000 tasks, events without end. In every other
window 200 a second are asked for, one by one, at a task's memory; what the learner loses is the median ratio
of neighbours. Lists of 1,000 are asked for one after the other, of a process that serves the state and learns
nothing.
"""

import http.client
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import numpy as np

from streammeta.benchmarks.pages import TASKS
from streammeta.benchmarks.result import Result
from streammeta.codec import JSON, MSGPACK

ASKED_PER_SECOND: Final = 200
PAIRS: Final = 4
WINDOW_SECONDS: Final = 5.0
LISTS: Final = 20
LISTED: Final = 1000
_ADDRESS: Final = re.compile(r"http://[\w.:]+")
PATH: Final = "/api/v1/predict"


def predictions() -> Iterator[Result]:
    """Latency of one, the learner's loss, and predictions a second in lists."""
    with tempfile.TemporaryDirectory() as folder:
        daemon = (sys.executable, "-m", "streammeta.benchmarks.pages", "daemon", folder)
        with _process(daemon) as address:
            yield from _beside(Client(address))
        serve = (sys.executable, "-m", "streammeta", "serve", "--state", f"{folder}/state", "--port", "0")
        with _process(serve, told="stderr") as address:
            client = Client(address)
            for at in ("memory", "meta"):
                for content_type in (JSON, MSGPACK):
                    yield _lists(client, at, content_type)


class Client:
    """One connection that stays open."""

    def __init__(self, address: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)

    def post(self, body: bytes, content_type: str = JSON) -> float:
        """Ask; the seconds that it took."""
        began = time.perf_counter()
        self._connection.request("POST", PATH, body, {"content-type": content_type})
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(read.decode())
        return time.perf_counter() - began

    def events(self) -> int:
        """Events that the daemon has learned."""
        self._connection.request("GET", "/api/v1/status")
        return int(json.loads(self._connection.getresponse().read())["events"])


def _beside(client: Client) -> Iterator[Result]:
    numbers = count()
    while client.events() < TASKS + 200:  # the traces of the first events, and warm caches
        time.sleep(0.2)
    for _ in range(20):
        client.post(_one(next(numbers)))
    latencies: list[float] = []
    pairs = []
    for _ in range(PAIRS):
        alone = _window(client, ())
        times: list[float] = []
        pairs.append((alone, _window(client, (_one(next(numbers)) for _ in count()), times)))
        latencies += times
    milliseconds = np.array(latencies) * 1000
    for quantile in (50, 99):
        value = float(np.percentile(milliseconds, quantile))
        yield Result(f"one, {ASKED_PER_SECOND} a second beside the learner, p{quantile}", value, "ms")
    without, with_asking = (statistics.median(rates) for rates in zip(*pairs, strict=True))
    yield Result("learner alone", without, "events/s")
    yield Result("learner while asked", with_asking, "events/s")
    yield Result("while asked / alone", statistics.median(b / a for a, b in pairs), "ratio")


def _window(client: Client, bodies: Any, times: list[float] | None = None) -> float:
    """Events a second while these are asked for, at their pace."""
    began, before = time.perf_counter(), client.events()
    for number, body in enumerate(bodies):
        due = began + number / ASKED_PER_SECOND
        if due > began + WINDOW_SECONDS:
            break
        time.sleep(max(0.0, due - time.perf_counter()))
        taken = client.post(body)
        if times is not None:
            times.append(taken)
    time.sleep(max(0.0, began + WINDOW_SECONDS - time.perf_counter()))
    return (client.events() - before) / (time.perf_counter() - began)


def _lists(client: Client, at: str, content_type: str) -> Result:
    asks = [_ask(number, at, content_type) for number in range(LISTED)]
    encode = msgspec.json.encode if content_type == JSON else msgspec.msgpack.encode
    body = encode(asks)
    for _ in range(5):
        client.post(body, content_type)
    rates = [LISTED / client.post(body, content_type) for _ in range(LISTS)]
    kind = "JSON" if content_type == JSON else "MessagePack"
    name = f"lists of {LISTED:,} at {at}, {kind}"
    return Result(name, statistics.median(rates), "predictions/s", _spread(rates))


def _spread(rates: Sequence[float]) -> tuple[float, float]:
    return min(rates), max(rates)


def _one(number: int) -> bytes:
    return json.dumps(_ask(number * 7 % TASKS, "memory", JSON)).encode()


def _ask(number: int, at: str, content_type: str) -> dict[str, object]:
    x = np.array([[number / TASKS]], np.float32)
    tensor = x.tolist() if content_type == JSON else {"dtype": "<f4", "shape": x.shape, "data": x.tobytes()}
    return {"task": f"sinusoid/{number}", "x": tensor, "at": at}


@contextmanager
def _process(command: Sequence[str], told: str = "stdout") -> Iterator[str]:
    """A program that tells its address in its first line, ended with the block."""
    process = subprocess.Popen(  # noqa: S603 (our own program)
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT if told == "stderr" else None
    )
    assert process.stdout is not None  # noqa: S101 (piped above)
    try:
        found = next(filter(None, map(_ADDRESS.search, process.stdout)))
        yield found[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
