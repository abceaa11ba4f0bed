"""A client of a daemon's port, as suites need one: what it asks, how long that took, what it cost there."""

import http.client
import json
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from streammeta.codec import JSON

PATH: Final = "/api/v1/predict"
_PATIENCE_SECONDS: Final = 300.0
_IDLE_SECONDS: Final = 1.0
"""A daemon waits for five."""


class Client:
    """One connection that stays open while it is used: a daemon closes one that is idle."""

    def __init__(self, address: str, pid: int) -> None:
        """`pid`: the process that listens there."""
        self._pid = pid
        self._connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=_PATIENCE_SECONDS)
        self._used = 0.0

    def post(self, body: bytes, content_type: str = JSON) -> tuple[float, bytes]:
        """Ask for a prediction; the seconds that it took, and the answer."""
        self._renew()
        began = time.perf_counter()
        answer = self._answer("POST", PATH, body, {"content-type": content_type})
        return time.perf_counter() - began, answer

    def events(self) -> int:
        """Events that it has learned."""
        self._renew()
        return int(json.loads(self._answer("GET", "/api/v1/status", None, {}))["events"])

    def learns(self) -> None:
        """Return when it has learned from an event."""
        first, began = self.events(), time.monotonic()
        while self.events() == first:
            if time.monotonic() - began > _PATIENCE_SECONDS:
                raise RuntimeError("the daemon learns nothing")
            time.sleep(0.2)

    def processor_seconds(self) -> float:
        """Processor time of its process so far but for its first thread, which learns; 0 where none tells."""
        tasks = Path(f"/proc/{self._pid}/task")
        if not tasks.exists():
            return 0.0
        found = [path for path in tasks.iterdir() if path.name != str(self._pid)]
        return sum(map(_nanoseconds, found)) / 1e9

    def _renew(self) -> None:
        """Connect anew where it was idle, so that no daemon closes it under a request."""
        if time.monotonic() - self._used > _IDLE_SECONDS:
            self._connection.close()
            self._connection.connect()

    def _answer(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        read = answer.read()
        self._used = time.monotonic()
        if answer.status != 200:
            raise RuntimeError(read.decode())
        return read


def _nanoseconds(thread: Path) -> int:
    """Its processor time; 0 where it has ended meanwhile."""
    try:
        return int((thread / "schedstat").read_text().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return 0
