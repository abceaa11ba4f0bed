"""The HTTP port: taken at once, given back, out of the way of the main thread."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from streammeta.errors import ConfigError
from streammeta.web import server as serving
from streammeta.web.server import HttpServer

ENTERED = threading.Event()
LEFT = threading.Event()


async def hello(_: Request) -> PlainTextResponse:
    """Answers at once."""
    return PlainTextResponse("hello")


async def endless(_: Request) -> StreamingResponse:
    """Answers for ever, as fast as it is taken."""

    async def chunks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65536)
                await anyio.sleep(0)
        finally:
            LEFT.set()

    return StreamingResponse(chunks())


async def forever(_: Request) -> PlainTextResponse:
    """Never answers."""
    ENTERED.set()
    await anyio.sleep_forever()
    raise AssertionError


async def length(request: Request) -> PlainTextResponse:
    """Answers when the whole body is there."""
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture
def server() -> Iterator[HttpServer]:
    """A server on a free port of loopback, not started."""
    routes = [
        Route("/", hello),
        Route("/forever", forever),
        Route("/endless", endless),
        Route("/length", length, methods=["POST"]),
    ]
    server = HttpServer(Starlette(routes=routes), "127.0.0.1", 0)
    yield server
    server.stop()


def test_serves_once_started(server: HttpServer) -> None:
    """Port 0 becomes a real one, and the first request is answered."""
    server.start()
    assert not server.address.endswith(":0")
    assert httpx.get(server.address, trust_env=False).text == "hello"


def test_an_answer_does_not_wait_for_its_head_to_be_acknowledged(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written is sent: else each answer on a kept connection takes 40 ms more."""
    taken: list[socket.socket] = []
    made = serving._Protocol.connection_made

    def connection_made(protocol: serving._Protocol, transport: asyncio.Transport) -> None:
        made(protocol, transport)
        taken.append(transport.get_extra_info("socket"))

    monkeypatch.setattr(serving._Protocol, "connection_made", connection_made)
    server.start()
    with httpx.Client(trust_env=False) as client:
        assert client.get(server.address).text == "hello"
        (accepted,) = taken
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_leaves_signals_to_the_main_thread(server: HttpServer) -> None:
    """SIGTERM and SIGINT keep the handlers that they had."""
    before = (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    server.start()
    httpx.get(server.address, trust_env=False)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_taken_port_is_refused_at_once() -> None:
    """The message names the setting, the port and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        taken = HttpServer(Starlette(), "127.0.0.1", port)
        with pytest.raises(
            ConfigError, match=rf"http\.port = {port} is taken on 127\.0\.0\.1; .*another port"
        ):
            taken.start()
        taken.stop()


def test_an_address_of_another_machine_is_refused() -> None:
    """A host that this machine does not have is named with the setting."""
    with pytest.raises(ConfigError, match=r"http\.host = '192\.0\.2\.1' is not an address of this machine"):
        HttpServer(Starlette(), "192.0.2.1", 0).start()


def test_stop_gives_the_port_back(server: HttpServer) -> None:
    """After stop the port is free and nothing answers; a second stop does nothing."""
    server.start()
    address = server.address
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address, trust_env=False)
    again = HttpServer(Starlette(), "127.0.0.1", int(address.rsplit(":", 1)[1]))
    again.start()
    again.stop()


def test_stop_does_not_wait_for_slow_requests(server: HttpServer) -> None:
    """A request that never ends delays the stop by seconds, not for ever."""
    server.start()
    ENTERED.clear()
    with socket.create_connection(("127.0.0.1", int(server.address.rsplit(":", 1)[1]))) as client:
        client.sendall(b"GET /forever HTTP/1.1\r\nHost: here\r\n\r\n")
        assert ENTERED.wait(120)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 30
        assert "http" not in {thread.name for thread in threading.enumerate()}


def test_ipv6_addresses_are_bracketed() -> None:
    """The address of an IPv6 host is a valid URL."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 on this machine")
    server = HttpServer(Starlette(routes=[Route("/", hello)]), "::1", 0)
    try:
        server.start()
    except ConfigError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    try:
        assert httpx.get(server.address, trust_env=False).text == "hello"
    finally:
        server.stop()


def test_idle_connections_are_bounded_and_dropped(
    server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those beyond the bound are closed at once, silent ones after a while; requests are answered again."""
    monkeypatch.setattr(serving, "MAX_CONNECTIONS", 3)
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.5)
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    idle = [socket.create_connection((host, int(port)), timeout=120) for _ in range(6)]
    assert [connection.recv(1) for connection in idle] == [b""] * 6
    assert httpx.get(server.address, trust_env=False).text == "hello"
    for connection in idle:
        connection.close()


def until_closed(client: socket.socket, said: bytes) -> None:
    """Say this again and again, and return when the server closes the connection."""
    client.settimeout(0.05)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            client.sendall(said)
            if client.recv(1000) == b"":
                return
        except TimeoutError:
            continue
        except ConnectionError:
            return
    raise AssertionError("the connection is still open")


@pytest.mark.parametrize("before", [b"", b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"])
def test_a_request_that_never_ends_is_cut_off(
    before: bytes, server: HttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However busily its headers trickle, on a new connection and on one that asked before."""
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.5)
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as client:
        if before:
            client.sendall(before)
            answer = b""
            while not answer.endswith(b"hello"):
                answer += client.recv(1000)
        client.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n")
        until_closed(client, b"X: y\r\n")


def test_a_body_that_never_ends_is_cut_off(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request is not whole before it; one that comes in pieces, but comes, is answered."""
    monkeypatch.setattr(serving, "_REQUEST_SECONDS", 0.5)
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    head = b"POST /length HTTP/1.1\r\nHost: here\r\nContent-Length: 100000\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=120) as client:
        client.sendall(head)
        until_closed(client, b"x")
    with socket.create_connection((host, int(port)), timeout=120) as client:
        client.sendall(head)
        for _ in range(10):
            client.sendall(bytes(10_000))
        answer = b""
        while not answer.endswith(b"100000"):
            answer += client.recv(1000)


def test_an_answer_that_nobody_takes_is_given_up(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that does not read is cut off, and what was made for it ends; one that reads is not."""
    monkeypatch.setattr(serving, "_TAKE_SECONDS", 0.5)
    LEFT.clear()
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as client:
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        reading = time.monotonic() + 1.5
        while time.monotonic() < reading:
            assert client.recv(1 << 20)
        assert not LEFT.is_set()
        assert LEFT.wait(120)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET / HTTP/1.1\r\nHost: here\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: here\r\n\r\n",
    ],
    ids=["huge", "tls", "short", "nul"],
)
def test_what_is_no_request_is_refused(
    request_bytes: bytes, server: HttpServer, caplog: pytest.LogCaptureFixture
) -> None:
    """400 and the end of the connection; nothing of it in the log; others are answered."""
    server.start()
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=120) as client:
        client.sendall(request_bytes)
        assert client.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert httpx.get(server.address, trust_env=False).text == "hello"
    assert [record for record in caplog.records if not record.name.startswith("http")] == []
