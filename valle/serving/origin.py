"""Refuse requests that pages of other origins send through a user's browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from valle.serving.errors import RequestError


def is_loopback(host: str) -> bool:
    """Return whether an address or a host name is this computer's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class OwnOrigin:
    """Middleware that answers 403 to requests of pages of other origins, and to names that point at this computer.

    CORS only forbids to read an answer: without this check any page could still upload a voice to a server without a
    key, open its WebSocket, or reach it by a domain name that resolves to 127.0.0.1 (DNS rebinding).

    Args:
        app: The application.
        origins: Other origins whose pages may use the server; `*`: all.
    """

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        self.app = app
        self.origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request or refuse it."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        error = self._error(Headers(scope=scope))
        if error is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            await error.response()(scope, receive, send)
        else:
            # Before it was accepted, a WebSocket that is closed is answered with status 403.
            await send({"type": "websocket.close", "code": 1008, "reason": error.message})

    def _error(self, headers: Headers) -> RequestError | None:
        host = headers.get("host", "")
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            name = ""
        if not is_loopback(name):
            return RequestError(403, f"host {host!r}: use http://127.0.0.1 or http://localhost")
        origin = headers.get("origin")
        allowed = origin is None or origin in self.origins or "*" in self.origins
        if allowed or origin in (f"http://{host}", f"https://{host}"):
            return None
        return RequestError(403, f"pages of {origin} may not use this server; --cors-origin {origin} lets them")
