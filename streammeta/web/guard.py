"""Who may read, and what a browser may do with it: the token, and the headers of every answer.

A browser sends no `Authorization` header by itself. It opens `/?token=…` once and gets a cookie that proves
the token without containing it; the address is then replaced by one without the token.
"""

import hashlib
import hmac
from collections.abc import Collection
from functools import lru_cache
from http.cookies import CookieError, SimpleCookie
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN_PATHS: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""Answered without a token, for orchestrators and Prometheus, unless it is asked for the last one too."""
COOKIE: Final = "streammeta"

_POLICY: Final = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_SECURITY_HEADERS: Final = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
_SECURED: Final = frozenset(name for name, _ in _SECURITY_HEADERS)
_COOKIE_SECONDS: Final = 30 * 86400
_STRANGE_HOST: Final = (
    "this port is for the machine itself: ask for localhost or an address; or set http.token_file, and any "
    "name will do\n"
)
_REFUSAL: Final = (
    "a bearer token is needed: open /?token=<token> once in a browser, or send the header "
    "'Authorization: Bearer <token>'\n"
)


class SecurityHeaders:
    """Middleware: headers that keep a browser from being talked into anything."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Add them to every answer."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [header for header in message["headers"] if header[0].lower() not in _SECURED]
                message["headers"] = [*own, *_SECURITY_HEADERS]
            await send(message)

        await self._app(scope, receive, with_headers)


class LocalHost:
    """Middleware: 403 for who asks by a name that is not this machine's, unless the path is open.

    For ports that only this machine can reach. A page of a stranger could else have its own name point to
    the loopback (DNS rebinding) and read, in the browser of whoever looks at it, what the daemon shows.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        if (
            scope["type"] == "lifespan"
            or scope["path"] in OPEN_PATHS
            or _is_local(Headers(scope=scope).get("host", ""))
        ):
            await self._app(scope, receive, send)
        else:
            await PlainTextResponse(_STRANGE_HOST, status_code=403)(scope, receive, send)


class Token:
    """Middleware: 401 for all but the open paths, unless the request proves that it knows the token."""

    def __init__(self, app: ASGIApp, token: str, open_paths: Collection[str] = OPEN_PATHS) -> None:
        self._app = app
        self._open_paths = open_paths
        self._token = token.strip().encode()
        self._proof = hmac.new(self._token, b"streammeta page", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, take the token from its address, or refuse it."""
        is_open = scope["type"] == "lifespan" or scope["path"] in self._open_paths
        if is_open or self._allowed(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        given = QueryParams(scope.get("query_string", b"")).get("token", "")
        right = scope["path"] == "/" and hmac.compare_digest(given.strip().encode(), self._token)
        await (self._admission(scope) if right else _refused())(scope, receive, send)

    def _allowed(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token):
            return True
        return hmac.compare_digest(_cookie(headers).encode(), self._proof.encode())

    def _admission(self, scope: Scope) -> Response:
        answer = RedirectResponse("./", status_code=303)
        answer.set_cookie(
            COOKIE,
            self._proof,
            max_age=_COOKIE_SECONDS,
            httponly=True,
            samesite="strict",
            secure=scope.get("scheme") == "https",
        )
        return answer


def is_loopback(host: str) -> bool:
    """Whether only the machine itself reaches what listens there.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


@lru_cache(maxsize=64)
def _is_local(told: str) -> bool:
    """Whether Host is localhost, an address or absent: a stranger's page has a name of its own."""
    try:
        host = (urlsplit(f"//{told}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return host in ("", "localhost") or host.endswith(".localhost") or _address(host) is not None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _cookie(headers: Headers) -> str:
    try:
        cookies = SimpleCookie(headers.get("cookie", ""))
    except CookieError:
        return ""
    return cookies[COOKIE].value if COOKIE in cookies else ""


def _refused() -> Response:
    return PlainTextResponse(
        _REFUSAL, status_code=401, headers={"www-authenticate": 'Bearer realm="streammeta"'}
    )
