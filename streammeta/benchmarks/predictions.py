"""`predictions`: how long one takes beside a learner at full speed, what that costs it, and lists of 1,000.

The daemon runs in a process of its own: 10,000 tasks, events without end, compiled steps where there can be
any. In every other window 200 a second are asked for, one by one, at a task's memory; what the learner loses
is the median ratio of neighbours. Then a second process serves the state too, for how far it is behind. Lists
of 1,000 are asked for one after the other, of a process that serves the state and learns nothing.
"""

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

import msgspec
import numpy as np

from streammeta.benchmarks.asking import Client
from streammeta.benchmarks.daemons import configured
from streammeta.benchmarks.known_tasks import fill
from streammeta.benchmarks.pages import TASKS, learn_on
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Rounds
from streammeta.codec import JSON, MSGPACK

ASKED_PER_SECOND: Final = 200
WINDOWS: Final[dict[Size, tuple[int, float]]] = {"small": (1, 0.5), "usual": (8, 5.0), "full": (16, 5.0)}
"""Pairs of windows, and the seconds of one."""
LISTS: Final[dict[Size, int]] = {"small": 1, "usual": 20, "full": 100}
LISTED: Final = 1000
ONE: Final = f"one, {ASKED_PER_SECOND} a second beside the learner, p"
ASKED: Final = "learner while asked / alone"
LIST: Final = f"lists of {LISTED:,} at "
BEHIND: Final = "serve: age of an answer less that of the daemon's own"
PROCESSOR: Final = "processor time of the daemon but for its learner's thread, one"
_ADDRESS: Final = re.compile(r"http://[\w.:]+")


def predictions(plan: Plan) -> Iterator[Row]:
    """Latency of one, the learner's loss, how far `serve` is behind, and predictions a second in lists."""
    pairs, seconds = WINDOWS[plan.size]
    python = (sys.executable, "-m")
    with tempfile.TemporaryDirectory() as folder:
        serve = (*python, "streammeta", "serve", "--state", f"{folder}/state", "--port", "0")
        with _process((*python, __name__, folder, plan.executor)) as daemon:
            yield from _beside(daemon, plan.rounds or pairs, seconds)
            with _process(serve) as follower:
                yield _behind(daemon, follower, plan.rounds_of(LISTS))
        with _process(serve) as client:
            for at in ("memory", "meta"):
                for content_type in (JSON, MSGPACK):
                    yield _lists(client, at, content_type, plan.rounds_of(LISTS), plan.uncounted)


def _beside(client: Client, pairs: int, seconds: float) -> Iterator[Row]:
    numbers = count()
    client.learns()
    _window(client, seconds, [_one(next(numbers)) for _ in range(20)])  # traces, and warm caches
    latencies: list[float] = []
    taken, costs = [], []
    for _ in range(pairs):
        before = client.processor_seconds()
        alone = _window(client, seconds)
        between, asked = client.processor_seconds(), len(latencies)
        bodies = (_one(number) for number in numbers)
        taken.append((alone, _window(client, seconds, bodies, latencies)))
        own = between - before
        costs.append((client.processor_seconds() - between - own) / (len(latencies) - asked))
    for quantile in (50, 99):
        milliseconds = 1000 * float(np.percentile(latencies, quantile))
        yield Row(f"{ONE}{quantile}", milliseconds, "ms", rounds=len(latencies))
    yield Rounds(tuple(costs)).row(PROCESSOR, "ms", 1000)
    without, with_asks = (Rounds(rates) for rates in zip(*taken, strict=True))
    yield without.row("learner alone", "events/s")
    yield with_asks.row("learner while asked", "events/s")
    yield with_asks.over(without).row(ASKED, "ratio")


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
        taken, _ = client.post(body)
        if times is not None:
            times.append(taken)
    time.sleep(max(0.0, began + seconds - time.perf_counter()))
    while (events := client.events()) == before:  # a short window on a busy machine
        time.sleep(0.05)
    return (events - before) / (time.perf_counter() - began)


def _behind(daemon: Client, follower: Client, rounds: int) -> Row:
    """Both tell how old the commit is that answers; asked in turn, the daemon first."""
    ages = []
    for number in range(rounds):
        body = _one(number)
        own, follows = (json.loads(client.post(body)[1])["age_seconds"] for client in (daemon, follower))
        ages.append(max(0.001, follows - own))
        time.sleep(0.05)
    return Rounds(tuple(ages)).row(BEHIND, "s")


def _lists(client: Client, at: str, content_type: str, rounds: int, uncounted: int) -> Row:
    asks = [_ask(number, at, content_type) for number in range(LISTED)]
    body = msgspec.json.encode(asks) if content_type == JSON else msgspec.msgpack.encode(asks)
    for _ in range(5 * uncounted):
        client.post(body, content_type)
    rates = Rounds(tuple(LISTED / client.post(body, content_type)[0] for _ in range(rounds)))
    kind = "JSON" if content_type == JSON else "MessagePack"
    return rates.row(f"{LIST}{at}, {kind}", "predictions/s")


def _one(number: int) -> bytes:
    return json.dumps(_ask(number * 7 % TASKS, "memory", JSON)).encode()


def _ask(number: int, at: str, content_type: str) -> dict[str, object]:
    x = np.array([[number / TASKS]], np.float32)
    tensor = x.tolist() if content_type == JSON else {"dtype": "<f4", "shape": x.shape, "data": x.tobytes()}
    return {"task": f"task-{number}", "x": tensor, "at": at}


@contextmanager
def _process(command: Sequence[str]) -> Iterator[Client]:
    """A program that tells its address in a line, ended with the block."""
    process = subprocess.Popen(  # noqa: S603 (our own programs)
        command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None  # noqa: S101 (piped above)
    try:
        found = next(filter(None, map(_ADDRESS.search, process.stdout)), None)
        if found is None:
            raise RuntimeError(f"{' '.join(command)} ended with {process.wait()}")
        yield Client(found[0], process.pid)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def learn(folder: str, executor: str) -> None:
    """Be the daemon, until told to stop; prints its address."""
    config = configured(f"{folder}/state", executor)
    fill(config, TASKS)
    learn_on(config)


if __name__ == "__main__":
    learn(*sys.argv[1:])
