"""`predictions`: how long one takes beside a learner at full speed, what that costs it, and lists of 1,000.

The daemon is that of `pages`: in a process of its own, 10,000 tasks, events without end. In every other
window 200 a second are asked for, one by one, at a task's memory; what the learner loses is the median ratio
of neighbours. Lists of 1,000 are asked for one after the other, of a process that serves the state and learns
nothing.
"""

import http.client
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final
from urllib.parse import urlsplit

import msgspec
import numpy as np

from streammeta.benchmarks.pages import TASKS
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Rounds
from streammeta.codec import JSON, MSGPACK

ASKED_PER_SECOND: Final = 200
WINDOWS: Final[dict[Size, tuple[int, float]]] = {"small": (1, 0.5), "usual": (8, 5.0), "full": (16, 5.0)}
"""Pairs of windows, and the seconds of one."""
LISTS: Final[dict[Size, int]] = {"small": 1, "usual": 20, "full": 100}
LISTED: Final = 1000
PATH: Final = "/api/v1/predict"
_ADDRESS: Final = re.compile(r"http://[\w.:]+")


def predictions(plan: Plan) -> Iterator[Row]:
    """Latency of one, the learner's loss, and predictions a second in lists."""
    pairs, seconds = WINDOWS[plan.size]
    python = (sys.executable, "-m")
    with tempfile.TemporaryDirectory() as folder:
        with _process((*python, "streammeta.benchmarks.pages", "daemon", folder)) as address:
            yield from _beside(Client(address), plan.rounds or pairs, seconds)
        serve = ("streammeta", "serve", "--state", f"{folder}/state", "--port", "0")
        with _process((*python, *serve)) as address:
            client = Client(address)
            for at in ("memory", "meta"):
                for content_type in (JSON, MSGPACK):
                    yield _lists(client, at, content_type, plan.rounds_of(LISTS), plan.uncounted)


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


def _beside(client: Client, pairs: int, seconds: float) -> Iterator[Row]:
    numbers = count()
    client.post(_one(next(numbers)))
    _window(client, seconds, [_one(next(numbers)) for _ in range(20)])  # traces, and warm caches
    latencies: list[float] = []
    taken = []
    for _ in range(pairs):
        alone = _window(client, seconds)
        bodies = (_one(number) for number in numbers)
        taken.append((alone, _window(client, seconds, bodies, latencies)))
    for quantile in (50, 99):
        milliseconds = 1000 * float(np.percentile(latencies, quantile))
        name = f"one, {ASKED_PER_SECOND} a second beside the learner, p{quantile}"
        yield Row(name, milliseconds, "ms", rounds=len(latencies))
    without, asked = (Rounds(rates) for rates in zip(*taken, strict=True))
    yield without.row("learner alone", "events/s")
    yield asked.row("learner while asked", "events/s")
    yield asked.over(without).row("while asked / alone", "ratio")


def _window(
    client: Client, seconds: float, bodies: Iterable[bytes] = (), times: list[float] | None = None
) -> float:
    """Events a second while these are asked for, at their pace."""
    began, before = time.perf_counter(), client.events()
    for number, body in enumerate(bodies):
        due = began + number / ASKED_PER_SECOND
        if due > began + seconds:
            break
        time.sleep(max(0.0, due - time.perf_counter()))
        taken = client.post(body)
        if times is not None:
            times.append(taken)
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    while client.events() == before:  # a short window on a busy machine
        time.sleep(0.05)
    return (client.events() - before) / (time.perf_counter() - began)


def _lists(client: Client, at: str, content_type: str, rounds: int, uncounted: int) -> Row:
    asks = [_ask(number, at, content_type) for number in range(LISTED)]
    body = msgspec.json.encode(asks) if content_type == JSON else msgspec.msgpack.encode(asks)
    for _ in range(5 * uncounted):
        client.post(body, content_type)
    rates = Rounds(tuple(LISTED / client.post(body, content_type) for _ in range(rounds)))
    kind = "JSON" if content_type == JSON else "MessagePack"
    return rates.row(f"lists of {LISTED:,} at {at}, {kind}", "predictions/s")


def _one(number: int) -> bytes:
    return json.dumps(_ask(number * 7 % TASKS, "memory", JSON)).encode()


def _ask(number: int, at: str, content_type: str) -> dict[str, object]:
    x = np.array([[number / TASKS]], np.float32)
    tensor = x.tolist() if content_type == JSON else {"dtype": "<f4", "shape": x.shape, "data": x.tobytes()}
    return {"task": f"task-{number}", "x": tensor, "at": at}


@contextmanager
def _process(command: Sequence[str]) -> Iterator[str]:
    """A program that tells its address in a line, ended with the block."""
    process = subprocess.Popen(  # noqa: S603 (our own programs)
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None  # noqa: S101 (piped above)
    try:
        found = next(filter(None, map(_ADDRESS.search, process.stdout)), None)
        if found is None:
            raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")
        yield found[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()
