"""The HTTP interface: metrics, probes, the API, predictions, and the live page.

Nothing is loaded from elsewhere, and nothing can be changed through this port.
"""

import time
from collections.abc import Awaitable, Callable, Collection
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread
import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from streammeta.errors import ConfigError
from streammeta.quoting import quoted_bytes, quoted_line
from streammeta.serving.desk import Desk
from streammeta.web.feed import Feed
from streammeta.web.guard import OPEN_PATHS, LocalHost, SecurityHeaders, Token
from streammeta.web.openapi import PREDICT, document_of
from streammeta.web.predictions import Predictions
from streammeta.web.room import Room
from streammeta.web.runbook import runbook_page
from streammeta.web.shown import Shown

STATIC: Final = Path(__file__).parent / "static"
SORTS: Final = ("loss", "events", "seen", "staleness", "drift", "quarantine", "task")
ORDERS: Final = ("descending", "ascending")
DEFAULT_TASKS, MAX_TASKS = 20, 1000

_LIST_SECONDS: Final = 2.0
"""How long a list of tasks is the same for all pages: sorting many is dear."""

Handler = Callable[[Request], Response]
AsyncHandler = Callable[[Request], Awaitable[Response]]


class _AnyText(PathConvertor):
    """The rest of an address whatever it holds: a task may have a line break in its id."""

    regex = r"[\s\S]*"


register_url_convertor("text", _AnyText())


def make_app(
    shown: Shown,
    *,
    token: str | None,
    local: bool,
    guarded: Collection[str] = (),
    desk: Desk | None = None,
) -> Starlette:
    """The application.

    Args:
        shown: What it shows.
        token: Bearer token asked for everything but the open paths; None asks for none.
        guarded: Open paths for which the token is asked too.
        local: Whether only this machine reaches the port: then, without a token, other names are refused.
        desk: Answers predictions; None where none are given.

    Raises:
        ConfigError: the token is empty, which would let in everybody who sends an empty one.
    """
    if token is not None and not token.strip():
        raise ConfigError(
            "http.token_file names a file without a token; write one into it, or leave the key empty"
        )
    guard = [Middleware(LocalHost)] if local else []
    guard = (
        guard
        if token is None
        else [Middleware(Token, token=token, open_paths=OPEN_PATHS.difference(guarded))]
    )
    feed = Feed(shown.live, lambda: shown.status.stopped)
    predictions = _predictions(None if desk is None else Predictions(desk))
    return Starlette(
        routes=[
            *predictions,  # first: asked for most often, and routes are tried in their order
            Route("/", _page),
            Route("/metrics", _metrics(shown.registry)),
            Route("/livez", _probe(shown.health.live)),
            Route("/readyz", _probe(shown.health.ready)),
            Route("/api/v1/status", lambda _: _json(shown.status_now())),
            Route("/api/v1/history", lambda _: _encoded(shown.curves())),
            Route("/api/v1/learners", lambda _: _json({"learners": shown.learners()})),
            Route("/api/v1/stream", feed.open),
            Route("/api/v1/tasks", _tasks(shown)),
            Route("/api/v1/tasks/{task:text}", _task(shown)),
            Route("/openapi.json", lambda _: _json(document_of(predicts=desk is not None))),
            Route("/api/v1/config", lambda _: _json(shown.configuration())),
            Route("/runbook", lambda _: HTMLResponse(runbook_page())),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Room),
            *guard,
            Middleware(GZipMiddleware, compresslevel=5),
        ],
    )


def _predictions(predictions: Predictions | None) -> list[Route]:
    """Where none are given, a page is told so: null."""
    if predictions is None:
        return [Route(PREDICT, lambda _: _json(None), methods=["GET"])]
    return [
        Route(PREDICT, predictions.ask, methods=["POST"]),
        Route(PREDICT, predictions.about, methods=["GET"]),
    ]


# Handlers that are plain functions run in a thread of the server's pool, so that a scrape delays no probe.


def _page(_: Request) -> Response:
    return FileResponse(STATIC / "index.html")


def _metrics(registry: CollectorRegistry) -> AsyncHandler:
    """In threads of its own, which other requests do not take."""
    threads = anyio.CapacityLimiter(2)

    async def metrics(request: Request) -> Response:
        try:
            encode, content_type = choose_encoder(request.headers.get("accept", ""))
        except (ValueError, TypeError):  # a version that is no number
            encode, content_type = choose_encoder("")
        body = await anyio.to_thread.run_sync(encode, registry, limiter=threads)
        return Response(body, headers={"content-type": content_type})

    return metrics


def _probe(ask: Callable[[], tuple[bool, str]]) -> AsyncHandler:
    """In the server's own thread, for it takes microseconds."""

    async def probe(_: Request) -> Response:
        good, reason = ask()
        return PlainTextResponse(quoted_line(reason) + "\n", status_code=200 if good else 503)

    return probe


def _tasks(shown: Shown) -> Handler:
    @lru_cache(maxsize=32)
    def listed(sort: str, ascending: bool, limit: int, search: str, _: int) -> bytes:
        return msgspec.json.encode(shown.task_list(sort, limit, search, ascending=ascending))

    def tasks(request: Request) -> Response:
        query = request.query_params
        sort, limit = query.get("sort", SORTS[0]), query.get("limit", str(DEFAULT_TASKS))
        if sort not in SORTS:
            return _bad(f"sort={sort}: one of {', '.join(SORTS)}")
        order = query.get("order", ORDERS[0])
        if order not in ORDERS:
            return _bad(f"order={order}: one of {', '.join(ORDERS)}")
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= MAX_TASKS):
            return _bad(f"limit={limit}: a whole number from 1 to {MAX_TASKS}")
        moment = int(time.monotonic() / _LIST_SECONDS)
        return _encoded(
            listed(sort, order == "ascending", int(limit[:9]), query.get("search", "")[:256], moment)
        )

    return tasks


def _task(shown: Shown) -> Handler:
    def task(request: Request) -> Response:
        name = request.path_params["task"]
        found = shown.task(name)
        return _json({"error": f"task {name!r} is not known"}, 404) if found is None else _json(found)

    return task


def _bad(problem: str) -> Response:
    return _json({"error": problem}, 400)


def _json(value: Any, status_code: int = 200) -> Response:
    return _encoded(msgspec.json.encode(value), status_code)


def _encoded(body: bytes, status_code: int = 200) -> Response:
    return Response(quoted_bytes(body), status_code, media_type="application/json")
