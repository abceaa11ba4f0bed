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


class Client:
    """One connection that stays open, and is opened again where the daemon has closed it for its idleness."""

    def __init__(self, address: str, pid: int) -> None:
        """`pid`: the process that listens there."""
        self._address, self._pid = urlsplit(address).netloc, pid
        self._connection = self._connected()

    def post(self, body: bytes, content_type: str = JSON) -> tuple[float, bytes]:
        """Ask for a prediction; the seconds that it took, and the answer."""
        began = time.perf_counter()
        self._connection.request("POST", PATH, body, {"content-type": content_type})
        answer = self._connection.getresponse()
        read = answer.read()
        if answer.status != 200:
            raise RuntimeError(read.decode())
        return time.perf_counter() - began, read

    def events(self) -> int:
        """Events that it has learned; what is asked next has a connection that was used a moment ago."""
        self._connection.close()
        self._connection = self._connected()
        self._connection.request("GET", "/api/v1/status")
        return int(json.loads(self._connection.getresponse().read())["events"])

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
        return sum(int((path / "schedstat").read_text().split()[0]) for path in found) / 1e9

    def _connected(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._address, timeout=_PATIENCE_SECONDS)
