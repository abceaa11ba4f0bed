"""300 hostile connections at once, on real sockets: probes and metrics are answered as ever."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection

import pytest

from streammeta.web import server as serving
from streammeta.web.feed import MAX_PAGES
from streammeta.web.room import MAX_REQUESTS
from streammeta.web.shown import Shown
from tests.observe.outcomes import learned, turned
from tests.web.shown import Daemon

HOSTILE = 300
PATHS = ("/livez", "/readyz", "/metrics")
ANSWER_SECONDS = 60.0
"""Prometheus's patience; alone on a machine an answer takes some milliseconds."""


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A daemon that serves."""
    daemon = Daemon()
    daemon.tell(turned(), learned())
    daemon.server.start()
    yield daemon
    daemon.server.stop()


def ask(daemon: Daemon) -> None:
    """Probes and metrics, each on a connection of its own, answered in time."""
    for path in PATHS:
        assert status_of(daemon, path) == 200, path


def status_of(daemon: Daemon, path: str) -> int:
    """What is answered to a request on a connection of its own."""
    host, port = daemon.server.address.removeprefix("http://").split(":")
    with closing(HTTPConnection(host, int(port), timeout=ANSWER_SECONDS)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status


def request(path: str, *headers: str) -> bytes:
    """A whole request."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def connect(daemon: Daemon, said: bytes) -> socket.socket:
    """A connection that says this and takes nothing of what comes."""
    host, port = daemon.server.address.removeprefix("http://").split(":")
    with ExitStack() as stack:
        connection = stack.enter_context(socket.socket())
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(10)
        connection.connect((host, int(port)))
        with suppress(ConnectionError):
            connection.sendall(said)
        stack.pop_all()
    return connection


WAYS: dict[str, Callable[[int], bytes]] = {
    "silent": lambda _: b"",
    "headers that never end": lambda _: request("/metrics")[:-2],
    "a body that never ends": lambda _: request("/metrics", "Content-Length: 1000000"),
    "answers never taken": lambda _: 6 * request("/static/vendor/uplot/uPlot.iife.min.js"),
    "pages that never read": lambda _: request("/api/v1/stream"),
    "all of these": lambda n: [*WAYS.values()][n % 5](n),
}


@pytest.mark.parametrize("way", WAYS)
def test_probes_are_answered_under_hostile_connections(way: str, daemon: Daemon) -> None:
    """Whatever the connections do, probes and metrics come in time, again and again."""
    with ExitStack() as stack:
        for number in range(HOSTILE):
            stack.enter_context(connect(daemon, WAYS[way](number)))
            if number % 50 == 0:
                ask(daemon)
        for _ in range(3):
            ask(daemon)


def test_probes_are_answered_while_connections_come_again_and_again(daemon: Daemon) -> None:
    """Who is cut off and comes back at once gains nothing by it."""
    ended = threading.Event()

    def attack() -> None:
        while not ended.is_set():
            with ExitStack() as stack, suppress(OSError):
                for _ in range(HOSTILE):
                    stack.enter_context(connect(daemon, request("/")[:-2]))

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        deadline = time.monotonic() + 2.0
        while time.monotonic() < deadline:
            ask(daemon)
    finally:
        ended.set()
        attacker.join()


def test_the_rest_is_bounded_and_says_so(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many requests in hand the next is refused; then it is answered again."""
    entered, go_on = threading.Semaphore(0), threading.Event()

    def slow(_: Shown) -> dict[str, object]:
        entered.release()
        go_on.wait(120)
        return {}

    monkeypatch.setattr(Shown, "status_now", slow)
    with ExitStack() as stack:
        for _ in range(MAX_REQUESTS):
            stack.enter_context(connect(daemon, request("/api/v1/status")))
        assert entered.acquire(timeout=120)
        deadline = time.monotonic() + 120
        while (status := status_of(daemon, "/api/v1/config")) == 200:
            assert time.monotonic() < deadline
        assert status == 503
        ask(daemon)
        go_on.set()
    while status_of(daemon, "/api/v1/config") != 200:
        assert time.monotonic() < deadline


def test_an_answer_that_stays_in_our_buffers_holds_no_connection(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that ended, and is too small for the transport to have asked us to wait."""
    monkeypatch.setattr(serving, "_TAKE_SECONDS", 0.5)
    monkeypatch.setattr(serving, "_REST_SECONDS", 0.5)
    with ExitStack() as stack:
        for number in range(1, 60, 3):
            stack.enter_context(connect(daemon, number * request("/static/vendor/uplot/uPlot.iife.min.js")))
        connections = daemon.server._server.server_state.connections
        deadline = time.monotonic() + 120
        while connections:
            assert time.monotonic() < deadline, len(connections)
            time.sleep(0.01)


def test_the_bounds_leave_room() -> None:
    """Pages and requests together never fill the connections."""
    assert MAX_PAGES + MAX_REQUESTS <= serving.MAX_CONNECTIONS * 2 / 3
