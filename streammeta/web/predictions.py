"""`POST /api/v1/predict`: answers in a thread of their own, refusals as problem details (RFC 9457)."""

from typing import Final

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from streammeta.codec import JSON, MSGPACK
from streammeta.errors import NoAnswer, Reason, StateError
from streammeta.serving.desk import Desk
from streammeta.serving.wire import encoded, read, written

MOST_WAITING: Final = 64
"""Requests that may wait for the one that is answered; further ones are told to come again."""


class Predictions:
    """The endpoint of one desk: one request is answered after the other, in the order in which they came."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._limiter: anyio.CapacityLimiter | None = None
        self._waiting = 0

    async def ask(self, request: Request) -> Response:
        """Answer one request."""
        content_type = _content_type(request)
        if content_type is None:
            kind = request.headers.get("content-type", "")[:60]
            return problem(415, "unsupported_content_type", f"content-type {kind!r}; use {JSON} or {MSGPACK}")
        if self._waiting >= MOST_WAITING:
            busy = problem(503, "busy", f"{MOST_WAITING} requests wait; come again")
            busy.headers["retry-after"] = "1"
            return busy
        body = await _body(request, self._desk.max_bytes)
        if body is None:
            return problem(
                413, Reason.TOO_LARGE, f"more than kafka.max_event_bytes = {self._desk.max_bytes}; send less"
            )
        return await self._answered(body, content_type, _wanted(request, content_type))

    async def _answered(self, body: bytes, content_type: str, wanted: str) -> Response:
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        self._waiting += 1
        try:
            return await run_sync(self._answer, body, content_type, wanted, limiter=self._limiter)
        finally:
            self._waiting -= 1

    def _answer(self, body: bytes, content_type: str, wanted: str) -> Response:
        try:
            asked = read(body, content_type)
            answered = self._desk.answer(asked.asks)
        except NoAnswer as refusal:
            status = 400 if refusal.reason == Reason.UNDECODABLE else 422
            return problem(status, refusal.reason, str(refusal), refusal)
        except StateError as error:
            return problem(503, "no_state", str(error))
        return Response(written(answered, wanted, listed=asked.listed), media_type=wanted)


def problem(status: int, reason: str, detail: str, refusal: NoAnswer | None = None) -> Response:
    """A refusal: `reason` for programs, `detail` for people, `field` and `index` where they are known."""
    about: dict[str, object] = {
        "type": "about:blank",
        "title": reason.replace("_", " "),
        "status": status,
        "detail": detail,
        "reason": str(reason),
    }
    if refusal is not None:
        about |= {"field": refusal.field, "index": refusal.number}
    return Response(encoded(about, JSON), status_code=status, media_type="application/problem+json")


def _content_type(request: Request) -> str | None:
    """JSON where none is told; None for another one."""
    told = request.headers.get("content-type", JSON).partition(";")[0].strip().lower()
    return told if told in (JSON, MSGPACK) else None


def _wanted(request: Request, content_type: str) -> str:
    """The encoding of the answer: that of the request, unless the other one alone is accepted."""
    accepted = request.headers.get("accept", "")
    other = MSGPACK if content_type == JSON else JSON
    return other if other in accepted and content_type not in accepted else content_type


async def _body(request: Request, max_bytes: int) -> bytes | None:
    """The whole body; None for one that is too large."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > max_bytes:
            return None
        parts.append(part)
    return b"".join(parts)
