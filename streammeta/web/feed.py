"""The stream of server-sent events: one message a second, made once for all pages that are open."""

import time
from collections.abc import AsyncIterator, Callable
from typing import Final

import anyio
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

PERIOD_SECONDS: Final = 1.0
MAX_PAGES: Final = 100
"""Pages that may listen at once; the next one is refused, and tries again."""


class Feed:
    """Sends `message` once a second to each page, until `ended`.

    Args:
        message: What is sent, as JSON; called at most once a period, however many pages listen.
        ended: Whether nothing new will come.
    """

    def __init__(self, message: Callable[[], bytes], ended: Callable[[], bool]) -> None:
        self._message = message
        self._ended = ended
        self._made = (-1, b"")
        self._pages = 0

    async def open(self, _: Request) -> Response:
        """Begin to send."""
        if self._pages >= MAX_PAGES:
            return PlainTextResponse(f"{MAX_PAGES} pages are open; close one\n", status_code=503)
        return EventSourceResponse(self._messages(), sep="\n")

    async def _messages(self) -> AsyncIterator[bytes]:
        self._pages += 1
        try:
            while not self._ended():
                yield self._current()
                # All pages wake at the same moments, so that they share one message.
                await anyio.sleep(PERIOD_SECONDS - time.monotonic() % PERIOD_SECONDS)
            yield self._current()
        finally:
            self._pages -= 1

    def _current(self) -> bytes:
        period = int(time.monotonic() / PERIOD_SECONDS)
        if self._made[0] != period:
            self._made = (period, b"event: state\ndata: " + self._message() + b"\n\n")
        return self._made[1]
