"""Middleware that keeps room for probes and metrics, however many ask for the rest at once."""

from typing import Final

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streammeta.web.guard import OPEN_PATHS

MAX_REQUESTS: Final = 64
"""Requests for anything but probes, metrics and the stream that are worked on at once; more are refused.

Connections are bounded too (`server.MAX_CONNECTIONS`), and so are open pages (`feed.MAX_PAGES`): less these
two, a third of the connections is left.
"""
_FREE: Final = OPEN_PATHS | {"/api/v1/stream"}


class Room:
    """503 for requests beyond the bound; one counts until its answer begins, for taking it has a limit."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._in_hand = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] in _FREE:
            await self._app(scope, receive, send)
        elif self._in_hand >= MAX_REQUESTS:
            refusal = f"{MAX_REQUESTS} requests are being answered; ask again\n"
            await PlainTextResponse(refusal, 503, {"retry-after": "1"})(scope, receive, send)
        else:
            await self._counted(scope, receive, send)

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        counted = True

        def leave() -> None:
            nonlocal counted
            self._in_hand -= counted
            counted = False

        async def begun(message: Message) -> None:
            leave()
            await send(message)

        self._in_hand += 1
        try:
            await self._app(scope, receive, begun)
        finally:
            leave()
