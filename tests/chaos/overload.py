"""Twice the daemon's rate for minutes: memory stays bounded, lag is told truly, and is 0 in the end."""

import json
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from streammeta.observe.snapshot import Snapshot
from tests.brokers.broker import Broker, eventually, fresh
from tests.chaos import stream
from tests.chaos.plan import Size
from tests.end_to_end.program import Daemon

TRUE_WITHIN_SECONDS: Final = 5.0
SLACK_RECORDS: Final = 1_000
"""Of a poll and of a chunk, which are on their way between two figures."""
GROWTH_BYTES: Final = 64 << 20
"""What the daemon may take more than when its buffers and its history had filled."""
MEASURED_SECONDS: Final = 3.0
PATIENCE_SECONDS: Final = 180.0
"""Of a busy machine, with what is waited for before anything is judged."""
RATE_SECONDS: Final = 10.0
"""How far back the daemon's own rate is looked for: one that became faster is given more."""
VALUES: Final = 500
SIZE: Final = Size(VALUES, 0, 1, 0, 0, (0.0, 0.0), 0, 0, 0)


class Moment(NamedTuple):
    """What was so at a time, in monotonic seconds.

    Attributes:
        written, learned: Records.
        shown: The lag, as the daemon tells it.
        rss_bytes: Its RAM, what it maps of its files included.
        anonymous_bytes: The part that is no file's: heap and stacks.
    """

    at: float
    written: int
    learned: int
    shown: int | None
    rss_bytes: int
    anonymous_bytes: int = 0


class Writer:
    """Writes good records at a rate, in its own thread; `acknowledged` is the number that is in the topic."""

    def __init__(self, broker: Broker, topic: str) -> None:
        self.acknowledged = 0
        self.rate = 0.0
        self._broker, self._topic, self._ended = broker, topic, threading.Event()
        records = (stream.record(SIZE, 1, number) for number in range(2 * VALUES))
        self._records = [one for one in records if not one.poison]
        self._thread = threading.Thread(target=self._run, name="overload")

    def write(self, count: int) -> None:
        """So many, at once."""
        futures = []
        for number in range(self.acknowledged, self.acknowledged + count):
            one = self._records[number % len(self._records)]
            futures.append(self._broker.producer.send(self._topic, one.value, one.key))
        for future in futures:
            future.get(timeout=PATIENCE_SECONDS)
        self.acknowledged += count

    @contextmanager
    def at_rate(self, rate: float) -> Iterator[None]:
        """Write so many a second meanwhile."""
        self.rate = rate
        self._thread.start()
        try:
            yield
        finally:
            self._ended.set()
            self._thread.join()

    def _run(self) -> None:
        due, last = float(self.acknowledged), time.monotonic()
        while not self._ended.wait(0.1):
            now = time.monotonic()
            due, last = due + self.rate * (now - last), now
            self.write(int(due) - self.acknowledged)


def overload(broker: Broker, folder: Path, seconds: float) -> dict[str, float]:
    """Let the daemon fall behind for so long, watch it each half second, let it catch up; the figures."""
    topic = broker.create(fresh("overload"), stream.PARTITIONS)
    settings = {
        "kafka.bootstrap_servers": broker.bootstrap_servers,
        "kafka.topic": topic,
        "model.args": "{sizes = [1, 200, 200, 1]}",
        "outer.clip_norm": 1.0,
        "engine.compile": "off",
    }
    writer, moments = Writer(broker, topic), list[Moment]()
    with Daemon(folder / "state", settings) as daemon:
        writer.write(VALUES)
        daemon.start()
        daemon.wait_for_events(VALUES)
        rate = _rate(writer, daemon)
        with writer.at_rate(2 * rate):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                moments += _moment(writer, daemon)
                writer.rate = max(writer.rate, 2 * _learned_a_second(moments))
                time.sleep(0.5)
        figures = _figures(moments, writer.rate) | {"behind": writer.acknowledged - daemon.events()}
        sys.stderr.write(f"overload, before it catches up: {figures}\n")
        judge(moments, writer.rate)
        began = time.monotonic()
        eventually(lambda: daemon.events() == writer.acknowledged, 60 + 4 * seconds)
        caught_up_seconds = time.monotonic() - began
        eventually(lambda: _lag(daemon) == 0, TRUE_WITHIN_SECONDS)
    return {**figures, "caught up (s)": caught_up_seconds}


def _figures(moments: list[Moment], rate: float) -> dict[str, float]:
    return {
        "records": moments[-1].written,
        "rate": rate / 2,
        "lag told": sum(moment.shown is not None for moment in moments) / len(moments),
        "RAM (MB)": max(moment.rss_bytes for moment in moments) / 1e6,
        "grown (MB)": _grown([moment.rss_bytes for moment in moments])[1] / 1e6,
        "grown, anonymous (MB)": _grown([moment.anonymous_bytes for moment in moments])[1] / 1e6,
    }


def _rate(writer: Writer, daemon: Daemon) -> float:
    """What the daemon learns a second with enough to do."""
    writer.write(4 * VALUES)
    eventually(lambda: daemon.events() > VALUES, PATIENCE_SECONDS)
    first, began = daemon.events(), time.monotonic()
    eventually(
        lambda: time.monotonic() - began > MEASURED_SECONDS or daemon.events() == writer.acknowledged,
        PATIENCE_SECONDS,
    )
    return (daemon.events() - first) / (time.monotonic() - began)


def _learned_a_second(moments: list[Moment]) -> float:
    """In the last seconds; 0 where so many have not passed yet."""
    if not moments or moments[-1].at - moments[0].at < RATE_SECONDS:
        return 0.0
    last = moments[-1]
    then = next(moment for moment in moments if last.at - moment.at <= RATE_SECONDS)
    return (last.learned - then.learned) / max(RATE_SECONDS / 2, last.at - then.at)


def _status(daemon: Daemon) -> Snapshot | None:
    code, body = daemon.get("/api/v1/status")
    return json.loads(body) if code == 200 else None


def _lag(daemon: Daemon) -> int | None:
    status = _status(daemon)
    return status["lag"]["total"] if status else None


def _moment(writer: Writer, daemon: Daemon) -> Iterator[Moment]:
    written, status = writer.acknowledged, _status(daemon)
    pid = None if daemon.process is None else daemon.process.pid
    if status is None or pid is None:
        return
    rss_bytes = psutil.Process(pid).memory_info().rss
    shown, anonymous_bytes = status["lag"]["total"], _anonymous_bytes(pid)
    yield Moment(time.monotonic(), written, status["events"], shown, rss_bytes, anonymous_bytes)


def _anonymous_bytes(pid: int) -> int:
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) << 10


def judge(moments: list[Moment], rate: float) -> None:
    """Each lag shown was true within the last seconds; memory does not grow with what waits."""
    lately = deque[Moment]()
    for moment in moments:
        lately.append(moment)
        while moment.at - lately[0].at > TRUE_WITHIN_SECONDS:
            lately.popleft()
        if moment.shown is None:
            continue
        true = [one.written - one.learned for one in lately]
        slack = SLACK_RECORDS + rate
        assert min(true) - slack <= moment.shown <= max(true) + slack, (moment, min(true), max(true))
    told = sum(moment.shown is not None for moment in moments)
    assert told > 0.8 * len(moments), f"lag was told {told} times of {len(moments)}"
    settled, grown = _grown([moment.rss_bytes for moment in moments])
    assert grown <= GROWTH_BYTES, f"RAM grew from {settled:,} by {grown:,} bytes"


def _grown(sizes: list[int]) -> tuple[int, int]:
    """The most of the first third, and how much more there was later."""
    settled = max(sizes[: len(sizes) // 3 + 1])
    return settled, max(sizes) - settled
