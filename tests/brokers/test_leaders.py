"""One leader of two is gone while the other answers: two real brokers, and the daemon as a process."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.brokers.broker import KAFKA, Broker, absence, eventually, fresh
from tests.brokers.conftest import LEAKED
from tests.end_to_end.program import Daemon, free_port
from tests.end_to_end.test_quarantine import linear

pytestmark = [
    pytest.mark.kafka,
    pytest.mark.slow,
    pytest.mark.skipif(bool(absence()), reason=absence()),
    pytest.mark.filterwarnings(f"ignore:{LEAKED}:ResourceWarning"),
]

TOLD_SECONDS = 15.0
"""Within this long of the leader's end it is told; a cluster takes 2 s here, 9 by default, to notice."""
BUSY_SECONDS = 120.0
OUTAGE_SECONDS = 5.0
"""For this long one that hangs may be taken for all: it may be the one that was asked about the others."""
READY = (200, "ready\n")


class Node:
    """One broker of a cluster; the first of them is its controller too."""

    def __init__(self, data: Path, number: int, controller_port: int) -> None:
        self.port = free_port()
        listeners = f"PLAINTEXT://127.0.0.1:{self.port}"
        shown = f"advertised.listeners={listeners}"
        if number == 1:
            roles, listeners = "broker,controller", f"{listeners},CONTROLLER://127.0.0.1:{controller_port}"
        else:
            roles = "broker"
        voters = f"controller.quorum.voters=1@127.0.0.1:{controller_port}"
        names = (f"process.roles={roles}", f"node.id={number}", voters, f"listeners={listeners}", shown)
        settings = [part for name in names for part in ("--set", name)]
        self._command = [str(KAFKA), "start", "--data", str(data), *settings]
        self.start()

    def start(self) -> None:
        """Also again, with the same data at the same address."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())

    def stop(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Node, Node]]:
    """Two brokers of one cluster."""
    controller_port, started = free_port(), list[Node]()
    try:
        started += [Node(tmp_path / f"kafka-{number}", number, controller_port) for number in (1, 2)]
        yield started[0], started[1]
    finally:
        for node in started:
            node.stop()


@contextmanager
def frozen(node: Node) -> Iterator[None]:
    """It keeps its connections and says nothing."""
    node.process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(node.process.pid).status() == psutil.STATUS_STOPPED)
    yield
    node.process.send_signal(signal.SIGCONT)


@contextmanager
def killed(node: Node) -> Iterator[None]:
    """It is gone, and comes back."""
    node.stop()
    yield
    node.start()


def _status(daemon: Daemon) -> dict[str, Any]:
    code, body = daemon.get("/api/v1/status")
    found: dict[str, Any] = json.loads(body) if code == 200 else {"broker": {}}
    return found


@pytest.mark.parametrize("gone", [killed, frozen])
def test_the_other_is_learned_from(gone: Any, nodes: tuple[Node, Node], tmp_path: Path) -> None:
    """Told in 15 s in words, on /readyz, in a metric; never an outage; each event counts once in the end."""
    first, second = nodes
    with (
        closing(Broker(f"127.0.0.1:{first.port}")) as broker,
        Daemon(
            tmp_path / "state",
            {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.topic": (topic := fresh("led"))},
        ) as daemon,
    ):
        daemon.settings = {**daemon.settings, "model.args": "{sizes = [1, 1]}", "engine.compile": "off"}
        wanted = {topic: {"assignments": {0: [1], 1: [2]}, "configs": {"retention.ms": "-1"}}}
        broker.admin.create_topics(wanted, wait_for_metadata=True)

        def write(partition: int, count: int) -> None:
            for _ in range(count):
                key = b"task-%d" % partition
                broker.producer.send(topic, linear(1.0), key, partition=partition).get(timeout=BUSY_SECONDS)

        write(0, 3)
        write(1, 3)
        daemon.start()
        eventually(lambda: daemon.events() == 6, BUSY_SECONDS)
        assert daemon.get("/readyz") == READY
        with gone(second):
            began = time.monotonic()
            outage = list[float]()

            def told() -> bool:
                if daemon.get("/readyz")[0] == 503:
                    outage.append(time.monotonic())
                return bool(_status(daemon)["broker"].get("leaderless") == [1])

            eventually(told, BUSY_SECONDS)
            told_seconds = time.monotonic() - began
            assert not outage or outage[-1] - outage[0] < OUTAGE_SECONDS, "an outage of one is none of all"
            assert daemon.get("/readyz") == (200, "ready, but no leader answers for partition 1\n")
            assert "streammeta_kafka_leaderless_partitions 1.0" in daemon.get("/metrics")[1]
            assert "leaderless" in [trouble["code"] for trouble in _status(daemon)["troubles"]]
            assert _status(daemon)["lag"]["partitions"].keys() == {"0"}, "what is not known is absent"
            write(0, 4)
            eventually(lambda: daemon.events() == 10, BUSY_SECONDS)
        write(1, 5)
        eventually(lambda: daemon.events() == 15, BUSY_SECONDS)
        said: list[tuple[int, str]] = [(0, "")]

        def ready() -> bool:
            said[0] = daemon.get("/readyz")
            return said[0] == READY

        with suppress(AssertionError):
            eventually(ready, BUSY_SECONDS)
        assert said[0] == READY
        assert told_seconds < TOLD_SECONDS
        daemon.send(signal.SIGTERM)
        assert daemon.wait() == 0
        assert daemon.counts() == {"task-0": 7, "task-1": 8}
