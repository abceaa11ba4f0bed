"""The HTTP port: uvicorn in a thread of its own, so that the loop never waits for a request.

The socket is bound and listens before the thread starts: a port that cannot be had is refused at once.
"""

import asyncio
import errno
import math
import socket
from collections.abc import Callable
from operator import attrgetter
from threading import Event, Thread

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from streammeta.errors import ConfigError

MAX_CONNECTIONS = 256
_BACKLOG = 512
"""Connections that wait to be accepted; the kernel drops further ones, and their clients try again."""
_ACCEPTED_AT_ONCE = 16
"""Connections accepted before those that are there have their turn."""
_PATIENCE_SECONDS = 5.0
_REQUEST_SECONDS = 10.0
_TAKE_SECONDS = 30.0
_REST_SECONDS = 30.0
"""Until the next request; uvicorn closes earlier, which lasts for ever where the last answer is not taken."""


class HttpServer:
    """Serves `app` on `host` and `port` (0 takes a free one) from `start` to `stop`.

    The thread is a daemon: a process that ends without `stop` does not hang on open connections.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._socket: socket.socket | None = None
        self._server = _Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http=_Protocol,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # what strangers send must not fill the log
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=2,
                backlog=_ACCEPTED_AT_ONCE,
            )
        )
        self._thread = Thread(target=self._run, name="http", daemon=True)

    def start(self) -> None:
        """Begin to serve; requests are accepted when this returns.

        Raises:
            ConfigError: the address cannot be had; names the setting and the remedy.
        """
        self._socket = listen(self._host, self._port)
        self._port = self._socket.getsockname()[1]
        self._thread.start()
        self._server.serving.wait(_PATIENCE_SECONDS)

    @property
    def address(self) -> str:
        """The root URL, with the port that was really taken once started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    def stop(self) -> None:
        """Finish the requests in hand and close the port, within some seconds. May be called twice."""
        self._server.should_exit = True
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_SECONDS)
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        # uvicorn installs signal handlers in the main thread only; signals stay with the loop.
        assert self._socket is not None  # noqa: S101 (start sets it before the thread runs)
        self._server.run(sockets=[self._socket])


class _Limit:
    """A time within which the peer must have done something; else `missed` is called.

    Attributes:
        since: When it began to run, as the event loop counts; infinity while it does not.
    """

    def __init__(self, missed: Callable[[], None]) -> None:
        self._missed = missed
        self._handle: asyncio.TimerHandle | None = None
        self.since = math.inf

    def begin(self, seconds: float) -> None:
        """From now on, unless it runs already."""
        if self._handle is None:
            loop = asyncio.get_running_loop()
            self.since = loop.time()
            self._handle = loop.call_later(seconds, self._missed)

    def end(self) -> None:
        """It has happened."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
            self.since = math.inf


class _Protocol(H11Protocol):
    """HTTP/1.1 that lets strangers hold neither many connections nor one for long without use.

    File descriptors belong to the learner: without a bound, idle connections could use them up. A request
    must be whole, and an answer taken, within some seconds. Beyond the bound a new connection takes the place
    of the one that has kept us waiting longest, so probes get in however many hold the line.

    Attributes:
        waiting_since: Since when the peer keeps us waiting; infinity while it is our turn.
    """

    waiting_since = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        _send_at_once(transport)
        self._asking, self._taking, self._resting = (_Limit(transport.abort) for _ in range(3))
        self._asking.begin(_REQUEST_SECONDS)
        self._note()
        if len(self.connections) > MAX_CONNECTIONS:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        self._resting.end()
        super().data_received(data)
        if self.cycle is None or self.cycle.response_complete or self.cycle.more_body:
            self._asking.begin(_REQUEST_SECONDS)
        else:
            self._asking.end()
        self._note()

    def on_response_complete(self) -> None:
        self._resting.begin(_REST_SECONDS)
        super().on_response_complete()
        self._note()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking.begin(_TAKE_SECONDS)
        self._note()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.end()
        self._note()

    def connection_lost(self, exc: Exception | None) -> None:
        self.give_up()
        super().connection_lost(exc)

    def give_up(self) -> None:
        """Wait for nothing more."""
        for limit in (self._asking, self._taking, self._resting):
            limit.end()
        self._note()

    def _note(self) -> None:
        self.waiting_since = min(self._asking.since, self._taking.since, self._resting.since)

    def _make_room(self) -> None:
        """Cut off who has kept us waiting longest; the new one, where it is our turn with all the others."""
        others = (other for other in self.connections if isinstance(other, _Protocol) and other is not self)
        last = min(others, key=attrgetter("waiting_since"), default=self)
        last = self if math.isinf(last.waiting_since) else last
        last.give_up()
        last.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn, with an event that says when it serves; stopping it earlier would leave sockets open."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.serving = Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listening in sockets or ():
            listening.listen(_BACKLOG)  # asyncio's backlog is also what it accepts in one go
        self.serving.set()


def _send_at_once(transport: asyncio.Transport) -> None:
    """Let no answer wait 40 ms for the peer to acknowledge its head.

    asyncio does so itself, but for sockets that name TCP alone, which those of `create_server` do not.
    """
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: the address cannot be had; names the setting and the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG)
    except OSError as error:
        raise _refusal(host, port, error) from error


def _refusal(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"http.port = {port} is taken on {host}; stop who has it, or set another port (0: a free one)"
        )
    if error.errno == errno.EACCES:
        return ConfigError(f"http.port = {port} needs more rights than this process has; set one above 1023")
    return ConfigError(
        f"http.host = {host!r} is not an address of this machine ({error}); set 127.0.0.1 or 0.0.0.0"
    )
