"""The HTTP interface: metrics, probes, the status, and a page that shows it.

Every answer is read from the observers, which hold no lock that the loop needs. Nothing is loaded from
elsewhere, and nothing can be changed through this port.
"""

import hmac
from collections.abc import Callable
from pathlib import Path

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streammeta.errors import ConfigError
from streammeta.observe.health import Health
from streammeta.observe.status import Status

OPEN_PATHS = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered without a token, for orchestrators and Prometheus."""

_STATIC = Path(__file__).parent / "static"
_POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_SECURITY_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


def make_app(*, registry: CollectorRegistry, status: Status, health: Health, token: str | None) -> Starlette:
    """The application.

    Args:
        registry: What `/metrics` shows.
        status: What `/api/v1/status` and the page show.
        health: What the probes answer.
        token: Bearer token asked for everything but the open paths; None asks for none.

    Raises:
        ConfigError: the token is empty, which would let in everybody who sends an empty one.
    """
    if token is not None and not token.strip():
        raise ConfigError(
            "http.token_file names a file without a token; write one into it, or leave the key empty"
        )
    guard = [] if token is None else [Middleware(_BearerToken, token=token)]
    return Starlette(
        routes=[
            Route("/", _page),
            Route("/metrics", _metrics(registry)),
            Route("/livez", _probe(health.live)),
            Route("/readyz", _probe(health.ready)),
            Route("/api/v1/status", _status(status)),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[Middleware(_SecurityHeaders), *guard, Middleware(GZipMiddleware)],
    )


# Handlers that are plain functions run in a thread of the server's pool, so that a scrape delays no probe.


def _page(_: Request) -> Response:
    return FileResponse(_STATIC / "index.html")


def _metrics(registry: CollectorRegistry) -> Callable[[Request], Response]:
    def metrics(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"content-type": content_type})

    return metrics


def _probe(ask: Callable[[], tuple[bool, str]]) -> Callable[[Request], Response]:
    def probe(_: Request) -> Response:
        good, reason = ask()
        return PlainTextResponse(reason + "\n", status_code=200 if good else 503)

    return probe


def _status(status: Status) -> Callable[[Request], Response]:
    def snapshot(_: Request) -> Response:
        return Response(msgspec.json.encode(status.snapshot()), media_type="application/json")

    return snapshot


class _SecurityHeaders:
    """Middleware: headers that keep a browser from being talked into anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, with_headers)


class _BearerToken:
    """Middleware: 401 for everything but the open paths, unless the request carries the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.strip().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN_PATHS or self._allowed(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        refusal = PlainTextResponse(
            "a bearer token is needed: send the header 'Authorization: Bearer <token>'\n",
            status_code=401,
            headers={"www-authenticate": 'Bearer realm="streammeta"'},
        )
        await refusal(scope, receive, send)

    def _allowed(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)
