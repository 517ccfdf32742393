"""The HTTP application: OpenAI's speech routes, voices, health and metrics, and the page."""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from valle.serving.body_limit import BodyLimit
from valle.serving.errors import RequestError
from valle.serving.origin import OwnOrigin
from valle.serving.settings import Settings
from valle.serving.speech import add_speech_routes
from valle.serving.synthesis import Synthesizer
from valle.serving.voices import add_voice_routes
from valle.serving.websocket import serve_websocket

PAGE = Path(__file__).with_name("page")
# Nothing of the page comes from elsewhere.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; script-src 'self' blob:; worker-src blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


def create_app(synthesizer: Synthesizer, settings: Settings) -> FastAPI:
    """Return the application.

    Args:
        synthesizer: Synthesizes for its clients.
        settings: Its settings.
    """
    # The pages that document the routes would load scripts from elsewhere; /openapi.json describes them.
    app = FastAPI(
        title="valle",
        description="Text-to-speech with neural codec language models.",
        docs_url=None,
        redoc_url=None,
    )
    if settings.api_key is None:
        app.add_middleware(OwnOrigin, origins=settings.cors_origins)
    app.add_middleware(BodyLimit, json_bytes=20 * synthesizer.limits.characters, upload_bytes=synthesizer.limits.upload)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    _add_errors(app)
    _add_guards(app, synthesizer, settings)
    _add_status(app, synthesizer, settings)
    add_speech_routes(app, synthesizer, settings)
    add_voice_routes(app, synthesizer)

    @app.websocket("/v1/audio/speech/stream")
    async def speech_stream(socket: WebSocket) -> None:
        if not _has_key(socket.headers.get("authorization"), settings.api_key):
            await socket.close(1008, "the API key is missing or wrong")
            return
        await serve_websocket(socket, synthesizer)

    _add_page(app)
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(_: Request, error: RequestError) -> JSONResponse:
        return error.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = []
        for problem in error.errors():
            name = ".".join(str(part) for part in problem["loc"] if part != "body")
            problems.append(f"{name or 'body'}: {problem['msg'].removeprefix('Value error, ')}")
        first = error.errors()[0]["loc"]
        return RequestError(400, "; ".join(problems), str(first[1]) if len(first) > 1 else None).response()

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> JSONResponse:
        message = (
            str(error.detail) if error.status_code != 404 else f"there is no {request.url.path}; see /openapi.json"
        )
        return RequestError(error.status_code, message, headers=dict(error.headers or {})).response()

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> JSONResponse:
        # Its traceback is logged; it tells the client nothing.
        return RequestError(500, f"the synthesis failed ({type(error).__name__}); the server's log has more").response()


def _has_key(header: str | None, key: str | None) -> bool:
    return key is None or secrets.compare_digest((header or "").encode(), f"Bearer {key}".encode())


def _add_guards(app: FastAPI, synthesizer: Synthesizer, settings: Settings) -> None:
    @app.middleware("http")
    async def guard(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        protected = request.url.path.startswith("/v1/") and request.method != "OPTIONS"
        if protected and not _has_key(request.headers.get("authorization"), settings.api_key):
            message = "the API key is missing or wrong; send it as: Authorization: Bearer KEY"
            response: Response = RequestError(401, message, headers={"WWW-Authenticate": "Bearer"}).response()
        else:
            response = await call_next(request)
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        synthesizer.metrics.requests.labels(path, str(response.status_code)).inc()
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _add_status(app: FastAPI, synthesizer: Synthesizer, settings: Settings) -> None:
    created = int(time.time())

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that the process runs."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"description": "The server is shutting down."}})
    async def readyz() -> JSONResponse:
        """Say whether requests are taken."""
        status = "draining" if synthesizer.draining else "ready"
        return JSONResponse({"status": status}, 503 if synthesizer.draining else 200)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the measures for Prometheus."""
        return Response(synthesizer.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """List the models: the served one."""
        tts = synthesizer.tts
        model = {
            "id": settings.model,
            "object": "model",
            "created": created,
            "owned_by": "valle",
            "sample_rate": tts.codec.sample_rate,
            "languages": list(tts.languages) or [tts.units.language],
        }
        return {"object": "list", "data": [model]}


def _add_page(app: FastAPI) -> None:
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers=headers)

    @app.get("/page.css", include_in_schema=False)
    async def style() -> FileResponse:
        return FileResponse(PAGE / "page.css", headers=headers)

    @app.get("/page.js", include_in_schema=False)
    async def script() -> FileResponse:
        return FileResponse(PAGE / "page.js", headers=headers, media_type="text/javascript")
