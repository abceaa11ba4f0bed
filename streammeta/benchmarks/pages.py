"""`pages`: what open pages cost the learner: events a second with five of them, against none.

The daemon runs in a process of its own, at full speed, with 10,000 tasks and three hours of history. Five
clients in another process do what pages do: load the history, listen to the stream, ask for the list of tasks
every three seconds. They are there in every other window; the figure is the median ratio of neighbours.
"""

import json
import random
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import IO

from streammeta.benchmarks.daemons import configured, generated
from streammeta.benchmarks.known_tasks import fill
from streammeta.benchmarks.rows import Plan, Row, Size
from streammeta.benchmarks.turns import Rounds
from streammeta.config import Config
from streammeta.observe.history import History
from streammeta.observe.history_file import pack as pack_history
from streammeta.outcomes import Turned
from streammeta.programs.daemon import run_daemon

ENDLESS = 1 << 40
TASKS = 10_000
HISTORY_SECONDS = 3 * 3600
PAGES = 5
WINDOWS: dict[Size, tuple[int, float, float]] = {
    "small": (1, 0.5, 0.1),
    "usual": (8, 5.0, 1.0),
    "full": (16, 5.0, 1.0),
}
"""Pairs of windows; seconds of a window, and before it begins."""
TASKS_EVERY_SECONDS = 3.0


def pages(plan: Plan) -> Iterator[Row]:
    """Events a second without and with five open pages, and their ratio."""
    pairs, *window = WINDOWS[plan.size]
    pairs = plan.rounds or pairs
    with tempfile.TemporaryDirectory() as folder, _process("daemon", folder) as (_, output):
        address = output.readline().strip()
        _rate(address, *window)  # the trace of the first event, and warm caches
        taken = [(_rate(address, *window), _rate_with_pages(address, *window)) for _ in range(pairs)]
    without, with_pages = (Rounds(rates) for rates in zip(*taken, strict=True))
    yield without.row("no page", "events/s")
    yield with_pages.row(f"{PAGES} open pages", "events/s")
    yield with_pages.over(without).row(f"with {PAGES} pages / without", "ratio")


@contextmanager
def _process(*arguments: str) -> Iterator[tuple["subprocess.Popen[str]", IO[str]]]:
    """This module as a program; ended with the block."""
    command = [sys.executable, "-m", "streammeta.benchmarks.pages", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 (this module)
    assert process.stdout is not None  # noqa: S101 (piped above)
    try:
        yield process, process.stdout
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def _rate_with_pages(address: str, window_seconds: float, settle_seconds: float) -> float:
    with _process("pages", address) as (_, output):
        output.readline()  # all are open
        return _rate(address, window_seconds, settle_seconds)


def _rate(address: str, window_seconds: float, settle_seconds: float) -> float:
    """Events a second over one window."""
    time.sleep(settle_seconds)
    began, before = time.perf_counter(), _events(address)
    time.sleep(window_seconds)
    return (_events(address) - before) / (time.perf_counter() - began)


def _events(address: str) -> int:
    return int(json.loads(_get(f"{address}/api/v1/status"))["events"])


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 (our own address)
        body: bytes = answer.read()
        return body


def open_pages(address: str) -> None:
    """Be five pages, until killed; says so when all have their first message."""
    opened = threading.Barrier(PAGES + 1)
    for _ in range(PAGES):
        threading.Thread(target=_page, args=(address, opened), daemon=True).start()
    opened.wait()
    print("open", flush=True)
    threading.Event().wait()


def _page(address: str, opened: threading.Barrier) -> None:
    _get(f"{address}/api/v1/history")
    with urllib.request.urlopen(f"{address}/api/v1/stream", timeout=60) as stream:  # noqa: S310 (our own)
        stream.readline()
        opened.wait()
        asked = 0.0
        for _ in stream:
            if time.monotonic() - asked > TASKS_EVERY_SECONDS:
                asked = time.monotonic()
                _get(f"{address}/api/v1/tasks?limit=25")


def learn(folder: str) -> None:
    """Be the daemon, until told to stop; prints its address."""
    config = configured(f"{folder}/state", "off")
    fill(config, TASKS, history=_curves())
    learn_on(config)


def learn_on(config: Config) -> None:
    """Learn from events of `TASKS` tasks until told to stop; prints the address."""
    draws = random.Random(0)  # noqa: S311 (a benchmark)
    run_daemon(
        config,
        read_config=lambda: config,
        connect=generated(ENDLESS, lambda _: b"task-%d" % draws.randrange(TASKS)),
        on_serving=lambda url: print(url, flush=True),
    )


def _curves() -> bytes:
    began = time.time() - HISTORY_SECONDS
    seconds = count()
    history = History(lambda: began + next(seconds))
    for _ in range(HISTORY_SECONDS // 2):  # each outcome asks for the time twice
        history(Turned("tasks", connected=True, restoring=False, lag={0: 0}))
    return pack_history(history, {"settings": {}, "machine": {}})


if __name__ == "__main__":
    {"daemon": learn, "pages": open_pages}[sys.argv[1]](sys.argv[2])
