"""What open pages cost the learner: events a second with five of them, against none.

The daemon runs in a process of its own, at full speed, with 10,000 tasks and three hours of history. Five
clients in another process do what pages do: load the history, listen to the stream, ask for the list of tasks
every three seconds. They are there in every other window; the figure is the median ratio of neighbours.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count, cycle, islice
from typing import IO

from streammeta.benchmarks.result import Result
from streammeta.config import Config, load_config
from streammeta.datasets.sinusoid import Sinusoids, sinusoid
from streammeta.events import Record
from streammeta.observe.history import History
from streammeta.observe.history_file import pack as pack_history
from streammeta.outcomes import Turned
from streammeta.programs.daemon import KeepGoing, run_daemon
from streammeta.runtime.assembly import build_brain
from streammeta.sending.messages import messages
from streammeta.state.checkpoint import Checkpoint, pack
from streammeta.state.directory import StateDirectory
from streammeta.state.lmdb_store import LmdbStore
from streammeta.state.progress import Progress
from streammeta.state.store import Meta, TaskRow, TaskStats
from streammeta.stream.base import DeadLetters, Source
from streammeta.stream.generated import GeneratedSource, NoDeadLetters

TASKS = 10_000
HISTORY_SECONDS = 3 * 3600
PAGES = 5
PAIRS = 8
WINDOW_SECONDS = 5.0
SETTLE_SECONDS = 1.0
TASKS_EVERY_SECONDS = 3.0


def pages() -> Iterator[Result]:
    """Events a second without and with five open pages, and their ratio."""
    with tempfile.TemporaryDirectory() as folder, _process("daemon", folder) as (daemon, output):
        address = output.readline().strip()
        _rate(address)  # the trace of the first event, and warm caches
        rates = [(_rate(address), _rate_with_pages(address)) for _ in range(PAIRS)]
        daemon.terminate()
    without, with_pages = (statistics.median(each) for each in zip(*rates, strict=True))
    ratio = statistics.median(one / other for other, one in rates)
    yield Result("no page", without, "events/s")
    yield Result(f"{PAGES} open pages", with_pages, "events/s")
    yield Result(f"with {PAGES} pages / without", ratio, "ratio")


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


def _rate_with_pages(address: str) -> float:
    with _process("pages", address) as (_, output):
        output.readline()  # all are open
        return _rate(address)


def _rate(address: str) -> float:
    """Events a second over one window."""
    time.sleep(SETTLE_SECONDS)
    began, before = time.perf_counter(), _events(address)
    time.sleep(WINDOW_SECONDS)
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
    settings = ["outer.clip_norm=10.0", "http.port=0", f"state.dir={folder}/state", "log.level=error"]
    config = load_config(None, settings, {})
    _fill(config)
    run_daemon(
        config, read_config=lambda: config, connect=_connect, on_serving=lambda url: print(url, flush=True)
    )


def _fill(config: Config) -> None:
    """A state that has seen every task, and has run for three hours."""
    brain = build_brain(config)
    memory = brain.network.initial.numpy().tobytes()
    first = Checkpoint(brain.origin, brain.learner.init(brain.network.initial), Progress(TASKS), {0: 0}, {})
    rows = {f"sinusoid/{i}": TaskRow(TaskStats(1, i + 1, 0, 1, 1, 1, 1), memory) for i in range(TASKS)}
    meta = pack(first)
    with StateDirectory(config.state.dir) as directory, closing(LmdbStore(directory.lmdb_path)) as store:
        store.commit(Meta(meta.tensors, meta.document, _curves()), rows)


def _curves() -> bytes:
    began = time.time() - HISTORY_SECONDS
    seconds = count()
    history = History(lambda: began + next(seconds))
    for _ in range(HISTORY_SECONDS // 2):  # each outcome asks for the time twice
        history(Turned("tasks", connected=True, restoring=False, lag={0: 0}))
    return pack_history(history, {"settings": {}, "machine": {}})


def _connect(config: Config, _: KeepGoing) -> tuple[Source, DeadLetters]:
    """Events of random tasks without end, made before the clock runs."""
    made = list(islice(messages(sinusoid(Sinusoids(tasks=TASKS)), "msgpack"), 5000))

    def records_from(offset: int) -> Iterator[Record]:
        for number, message in enumerate(cycle(made), offset):
            headers = tuple((name, value) for name, value in message.headers)
            yield Record(config.kafka.topic, 0, number, 0, message.key, message.value, headers)

    return GeneratedSource(records_from, per_second=1e6), NoDeadLetters()


if __name__ == "__main__":
    {"daemon": learn, "pages": open_pages}[sys.argv[1]](sys.argv[2])
