"""Refuse bodies that are too large while they arrive."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from valle.serving.errors import RequestError


class BodyLimit:
    """Middleware that ends a request with status 413 as soon as its body is too large.

    Args:
        app: The application.
        json_bytes: Bytes of a body, which are few more than a text may have.
        upload_bytes: Bytes of a body with files.
    """

    def __init__(self, app: ASGIApp, json_bytes: int, upload_bytes: int) -> None:
        self.app = app
        self.json_bytes = max(json_bytes, 1_000_000)
        self.upload_bytes = upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count its bytes."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        is_upload = headers.get(b"content-type", b"").startswith(b"multipart/form-data")
        limit = self.upload_bytes if is_upload else self.json_bytes
        error = RequestError(413, f"the body has more than {limit} bytes; send a shorter one")
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit:
            await error.response()(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            # The application has seen the last of it; what it answers is replaced below.
            return {"type": "http.disconnect"} if received > limit else message

        async def unless_too_large(message: Message) -> None:
            if received <= limit:
                await send(message)

        try:
            await self.app(scope, counted, unless_too_large)
        except Exception:
            if received <= limit:
                raise
        if received > limit:
            await error.response()(scope, receive, send)
