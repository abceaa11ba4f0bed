"""The quickstart's broker: on the loopback alone, on a free port, and gone with its parent."""

import contextlib
import importlib.util
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from streammeta.errors import BrokerUnavailable
from streammeta.stream.embedded import broker as embedded
from streammeta.stream.embedded.broker import EmbeddedBroker, broker_available
from tests.brokers.broker import eventually

PARENT = """
import time
from streammeta.stream.embedded.broker import EmbeddedBroker
broker = EmbeddedBroker()
broker.start()
print(broker.bootstrap_servers, flush=True)
time.sleep(600)
"""


def serves(address: str) -> bool:
    """Whether anyone listens there."""
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
        return True
    return False


def listening() -> set[str]:
    """The addresses on which children of this process listen."""
    found = set()
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            found |= {f"{c.laddr.ip}:{c.laddr.port}" for c in child.net_connections() if c.status == "LISTEN"}
    return found


def test_start_and_stop(tmp_path: Path) -> None:
    """It answers when `start` returns, listens on 127.0.0.1 alone, keeps a log, and is gone after `stop`."""
    log = tmp_path / "broker.log"
    before = listening()
    with EmbeddedBroker(log) as broker:
        assert serves(broker.bootstrap_servers)
        assert listening() - before == {broker.bootstrap_servers}
        assert broker.bootstrap_servers.startswith("127.0.0.1:")
    assert not serves(broker.bootstrap_servers)
    assert log.exists()
    broker.stop()


def test_two_at_once() -> None:
    """Two brokers have two ports."""
    with EmbeddedBroker() as one, EmbeddedBroker() as two:
        assert one.bootstrap_servers != two.bootstrap_servers


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another process took the port meanwhile, the next one is tried."""
    free = embedded._free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter([taken, free])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports))
        with EmbeddedBroker() as broker:
            assert broker.bootstrap_servers == f"127.0.0.1:{free}"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_gone_with_its_parent(end: signal.Signals) -> None:
    """However the parent ends, the broker ends too."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    address = parent.stdout.readline().strip()
    assert serves(address)
    family = psutil.Process(parent.pid).children(recursive=True)
    assert len(family) == 2
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not serves(address), 5.0)
    eventually(lambda: not any(p.is_running() and p.status() != "zombie" for p in family), 5.0)


def test_no_wheel_for_this_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wheel the error names the extra and the way without a broker."""
    assert broker_available()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert not broker_available()
    with pytest.raises(BrokerUnavailable, match=r"streammeta\[quickstart\].*--no-broker"):
        EmbeddedBroker().start()
