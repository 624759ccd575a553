"""The gate before all routes: who may come in at all. An ASGI application around another one.

Loopback is not privacy: other users of the machine can connect, and a web page elsewhere can make a browser do so under
a name of its own (DNS rebinding). So the name must be one of this machine's, and all but the read-only page and the
description of the interface needs the token.
"""

import hmac

import msgspec
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

from adapters.web.refusals import HostRefused, Unauthorized, refusal_of, status_of
from domain.errors import TaskSchedulerError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
OPEN_PATHS = frozenset({"/", "/favicon.ico", "/schema", "/schema/openapi.json"})
"""Readable without the token. A list of what is open, so that no other spelling of a path can slip through."""

_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
]


class Gate:
    """Refuses requests under a foreign host name, and those without the token."""

    def __init__(self, inner: ASGIApp, token: str) -> None:
        self._inner, self._token = inner, token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != ScopeType.HTTP:
            return  # nothing else is served
        headers = dict(scope["headers"])
        refused = self._refused(str(scope["path"]), headers)
        if refused is None:
            await self._inner(scope, receive, _with_headers(send))
        else:
            await _refuse(refused, send)

    def _refused(self, path: str, headers: dict[bytes, bytes]) -> TaskSchedulerError | None:
        host = _host_name(headers.get(b"host", b"").decode("latin-1"))
        if host not in LOOPBACK:
            return HostRefused(host=host[:100])
        if path in OPEN_PATHS or self._has_token(headers.get(b"authorization", b"")):
            return None
        return Unauthorized()

    def _has_token(self, authorization: bytes) -> bool:
        scheme, _, given = authorization.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(given.strip(), self._token)


def _host_name(host: str) -> str:
    """The name without the port: `localhost:80`, `[::1]:80`."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def _with_headers(send: Send) -> Send:
    async def send_with_headers(message: object) -> None:
        if isinstance(message, dict) and message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *_HEADERS]}
        await send(message)  # type: ignore[arg-type]  # still the message that it was

    return send_with_headers


async def _refuse(error: TaskSchedulerError, send: Send) -> None:
    body = msgspec.json.encode(refusal_of(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *_HEADERS]
    if isinstance(error, Unauthorized):
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
