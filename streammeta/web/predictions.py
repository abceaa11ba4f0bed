"""`POST /api/v1/predict`: answers, and refusals as problem details (RFC 9457).

What is small and was answered quickly before is answered at once, in the server's thread: handing it to
another one and back costs more than the answer, and each handing waits for the interpreter, which the learner
has. All else is answered in a thread of its own, so that it delays no probe.
"""

import time
from typing import Final

import anyio
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from streammeta.codec import JSON, MSGPACK
from streammeta.codec.envelope import MAX_TASK_BYTES
from streammeta.errors import NoAnswer, Reason, StateError
from streammeta.serving.desk import Desk
from streammeta.serving.wire import encoded, read, told, written

MOST_BODIES: Final = 4
"""How many of the largest requests their bodies may fill together."""
SMALL_BYTES: Final = 4096
QUICK_SECONDS: Final = 0.002
"""A body, and the computing of the last answer to such a one, up to which the server's thread answers."""


class Predictions:
    """The endpoint of one desk: one request is answered after the other, in the order in which they came."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._limiter: anyio.CapacityLimiter | None = None
        self._held_bytes = 0
        self._took_seconds = 0.0

    async def ask(self, request: Request) -> Response:
        """Answer one request."""
        content_type = _content_type(request)
        if content_type is None:
            kind = request.headers.get("content-type", "")[:60]
            return problem(415, "unsupported_content_type", f"content-type {kind!r}; use {JSON} or {MSGPACK}")
        held = bytearray()
        try:
            return await self._read(request, held) or await self._answered(
                bytes(held), content_type, _wanted(request, content_type)
            )
        finally:
            self._held_bytes -= len(held)

    async def about(self, request: Request) -> Response:
        """Tell what can be asked of `?task=`."""
        self._limiter = self._limiter or anyio.CapacityLimiter(1)
        return await run_sync(self._about, request.query_params.get("task", ""), limiter=self._limiter)

    def _about(self, task: str) -> Response:
        if not 1 <= len(task.encode(errors="surrogatepass")) <= MAX_TASK_BYTES:
            detail = f"task: expected 1 to {MAX_TASK_BYTES} bytes of UTF-8"
            return problem(422, Reason.BAD_TASK_ID, detail, NoAnswer(Reason.BAD_TASK_ID, "task", detail))
        try:
            return Response(told(self._desk.about(task)), media_type=JSON)
        except StateError as error:
            return problem(503, "no_state", str(error))

    async def _read(self, request: Request, held: bytearray) -> Response | None:
        """Read the body; why it is not read to its end, if it is not."""
        most_bytes = self._desk.max_bytes
        async for part in request.stream():
            held += part
            self._held_bytes += len(part)
            if len(held) > most_bytes:
                detail = f"more than kafka.max_event_bytes = {most_bytes}; send less"
                return problem(413, Reason.TOO_LARGE, detail)
            if self._held_bytes > MOST_BODIES * most_bytes:
                return _busy()
        return None

    async def _answered(self, body: bytes, content_type: str, wanted: str) -> Response:
        limiter = self._limiter = self._limiter or anyio.CapacityLimiter(1)
        if len(body) > SMALL_BYTES:
            return await run_sync(self._answer, body, content_type, wanted, limiter=limiter)
        if self._took_seconds > QUICK_SECONDS or limiter.borrowed_tokens:
            return await run_sync(self._timed, body, content_type, wanted, limiter=limiter)
        return self._timed(body, content_type, wanted)

    def _timed(self, body: bytes, content_type: str, wanted: str) -> Response:
        began = time.thread_time()
        answer = self._answer(body, content_type, wanted)
        self._took_seconds = time.thread_time() - began
        return answer

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


def _busy() -> Response:
    busy = problem(503, "busy", "too much waits to be answered; come again")
    busy.headers["retry-after"] = "1"
    return busy
