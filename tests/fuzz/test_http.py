"""Whatever is sent to the port, it answers or hangs up, and serves the next one."""

import random
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pytest

from tests.fuzz.inputs import bounded, count, mutated
from tests.web.shown import Daemon

SPICE = [b"\r\n", b"\r\n\r\n", b"\0", b"\xff\xfe", b"%00", b"%2e%2e/", b"../" * 20, b":", b" ", b"A" * 5_000]
SPICE += [b"Content-Length: -1\r\n", b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n"]
SPICE += [
    b"Host: evil\r\n",
    b"?limit=-1",
    b"?limit=1e9",
    b"&sort=x",
    b"Cookie: a=\xff\r\n",
    b"HTTP/9.9",
    b"\n\n",
]
SENDERS = 16
"""Requests under way at once: the server waits for what half of them lack."""
BETWEEN_SOUND_ONES = 50
REQUESTS = [
    b"GET /api/v1/status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/tasks?sort=loss&limit=5 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /api/v1/tasks/a%2Fb HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: text/plain\r\nConnection: close\r\n\r\n",
    b"GET /?token=x HTTP/1.1\r\nHost: localhost\r\nCookie: token=1\r\nConnection: close\r\n\r\n",
    b"POST /api/v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
]


@pytest.fixture
def port() -> Iterator[int]:
    """Of a page without a daemon."""
    daemon = Daemon()
    daemon.server.start()
    yield int(daemon.server.address.rpartition(":")[2].strip("/"))
    daemon.server.stop()


def answer(port: int, request: bytes, patience_seconds: float = 10.0) -> bytes:
    """What comes back until it hangs up, or nothing more is said for so long."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as sent:
        sent.settimeout(patience_seconds)
        found = b""
        with suppress(ConnectionError, TimeoutError):
            sent.sendall(request)
            while len(found) < 1 << 20 and (piece := sent.recv(1 << 16)):
                found += piece
        return found


def test_it_goes_on_serving(port: int) -> None:
    """Each mutant is answered below 500, or not at all; a sound request is answered between them."""
    chance = random.Random(8)
    answered, tried, send = 0, count(200), partial(answer, port, patience_seconds=0.2)
    with bounded(), ThreadPoolExecutor(SENDERS) as senders:
        for first in range(0, tried, BETWEEN_SOUND_ONES):
            number = min(BETWEEN_SOUND_ONES, tried - first)
            mutants = [mutated(chance.choice(REQUESTS), chance, SPICE) for _ in range(number)]
            for mutant, found in zip(mutants, senders.map(send, mutants), strict=True):
                answered += bool(found)
                judge(mutant, found)
            assert answer(port, REQUESTS[0]).startswith(b"HTTP/1.1 200")
    assert answered > tried // 2


def judge(mutant: bytes, found: bytes) -> None:
    """An answer in words that a client knows, and none that blames the server."""
    if found:
        assert found.startswith(b"HTTP/1.1 "), (mutant, found[:100])
        assert found[9:10] in b"1234" or found[9:12] == b"503", (mutant, found[:300])
