"""The HTTP application: OpenAI's speech routes, voices, health and metrics, and the page."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from valle.serving.body_limit import BodyLimit
from valle.serving.encoding import MEDIA_TYPES, AudioEncoder
from valle.serving.errors import RequestError
from valle.serving.schemas import OPENAI_MODELS, BatchItem, BatchRequest, SpeechRequest
from valle.serving.synthesis import Synthesizer
from valle.serving.voices import add_voice_routes
from valle.serving.websocket import serve_websocket
from valle.synthesis.prompt import Prompt
from valle.synthesis.speech import SpeechChunk

REFUSED = (400, 401, 404, 413, 429, 503)
PAGE = Path(__file__).with_name("page")
# Nothing of the page comes from elsewhere.
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data:; media-src 'self' blob:; script-src 'self' blob:; worker-src blob:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the application.

    Attributes:
        model: Name of the served model.
        api_key: Key that requests have to bring; None: none is needed.
        cors_origins: Origins of other pages whose scripts may use the server.
    """

    model: str
    api_key: str | None = None
    cors_origins: list[str] = field(default_factory=list)


def create_app(synthesizer: Synthesizer, settings: Settings) -> FastAPI:
    """Return the application.

    Args:
        synthesizer: Synthesizes for its clients.
        settings: Its settings.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        synthesizer.draining = True

    # The pages that document the routes would load scripts from elsewhere; /openapi.json describes them.
    app = FastAPI(
        title="valle",
        description="Text-to-speech with neural codec language models.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(BodyLimit, json_bytes=20 * synthesizer.limits.characters, upload_bytes=synthesizer.limits.upload)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["*"], allow_headers=["*"]
        )
    _add_errors(app)
    _add_guards(app, synthesizer, settings)
    _add_status(app, synthesizer, settings)
    _add_speech(app, synthesizer, settings)
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

    @app.get("/metrics")
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


def _check_model(model: str | None, settings: Settings) -> None:
    if model is not None and model != settings.model and model not in OPENAI_MODELS:
        raise RequestError(404, f"model {model!r} is not served; use {settings.model!r}", "model")


def _warning_headers(warnings: list[str]) -> dict[str, str]:
    escaped = (warning.replace("\\", "").replace('"', "'") for warning in warnings)
    values = ", ".join(f'299 valle "{warning}"' for warning in escaped)
    return {"Warning": values.encode("ascii", "replace").decode()} if warnings else {}


def _add_speech(app: FastAPI, synthesizer: Synthesizer, settings: Settings) -> None:
    audio = {media: {"schema": {"type": "string", "format": "binary"}} for media in sorted(set(MEDIA_TYPES.values()))}
    refused: dict[int | str, dict[str, Any]] = {
        code: {"description": "refused, with an error object"} for code in REFUSED
    }

    @app.post(
        "/v1/audio/speech",
        response_class=StreamingResponse,
        responses={200: {"description": "audio as it is synthesized", "content": audio}, **refused},
    )
    async def speech(request: SpeechRequest) -> Response:
        """Synthesize a text; audio is sent while the rest is still being synthesized."""
        _check_model(request.model, settings)
        synthesizer.check_text(request.input)
        prompt, warnings = synthesizer.resolve_voice(request.voice_name)
        if request.instructions:
            warnings.append("instructions are ignored")
        chunks = _in_slot(synthesizer, request, prompt)
        # What is refused is refused before the status is sent.
        first = await anext(chunks, None)
        headers = _warning_headers(warnings)
        if request.stream_format == "sse":
            events = _events(synthesizer, request, first, chunks)
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        content = _encoded(synthesizer, request, first, chunks)
        return StreamingResponse(content, media_type=MEDIA_TYPES[request.response_format], headers=headers)

    @app.post("/v1/audio/speech/batch", responses=refused)
    async def batch(request: BatchRequest) -> dict[str, Any]:
        """Synthesize several texts; each has a result or an error of its own."""
        _check_model(request.model, settings)
        results = []
        for index, item in enumerate(request.items):
            try:
                result = await _batch_result(synthesizer, request.merged(item))
                results.append({"index": index, "status": "success", **result})
            except RequestError as error:
                if error.status in (429, 503):
                    raise
                results.append({"index": index, "status": "error", **error.body()})
        succeeded = sum(result["status"] == "success" for result in results)
        return {"results": results, "total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}


async def _in_slot(synthesizer: Synthesizer, request: SpeechRequest, prompt: Prompt) -> AsyncIterator[SpeechChunk]:
    async with synthesizer.slot():
        async for chunk in synthesizer.stream(synthesizer.speech(request.input, prompt, request)):
            yield chunk


async def _encoded(
    synthesizer: Synthesizer, request: SpeechRequest, first: SpeechChunk | None, chunks: AsyncIterator[SpeechChunk]
) -> AsyncIterator[bytes]:
    """Encode a stream."""
    encoder = AudioEncoder(request.response_format, synthesizer.tts.codec.sample_rate)
    if first is not None:
        yield encoder.encode(first.samples)
    async for chunk in chunks:
        if data := encoder.encode(chunk.samples):
            yield data
    yield encoder.finish()


async def _events(
    synthesizer: Synthesizer, request: SpeechRequest, first: SpeechChunk | None, chunks: AsyncIterator[SpeechChunk]
) -> AsyncIterator[str]:
    """Encode a stream as server-sent events."""
    encoder = AudioEncoder(request.response_format, synthesizer.tts.codec.sample_rate)
    seconds = 0.0

    def delta(data: bytes, chunk: SpeechChunk | None) -> str:
        event: dict[str, Any] = {"type": "speech.audio.delta", "audio": base64.b64encode(data).decode()}
        if request.timestamps and chunk is not None and chunk.words:
            event["words"] = [asdict(word) for word in chunk.words]
        if request.codes and chunk is not None and len(chunk.codes):
            event["codes"] = chunk.codes.tolist()
        return f"event: speech.audio.delta\ndata: {json.dumps(event)}\n\n"

    try:
        if first is not None:
            seconds += first.duration
            yield delta(encoder.encode(first.samples), first)
        async for chunk in chunks:
            seconds += chunk.duration
            yield delta(encoder.encode(chunk.samples), chunk)
        if data := encoder.finish():
            yield delta(data, None)
    except RequestError as error:
        # The status has been sent already.
        yield f"event: error\ndata: {json.dumps({'type': 'error', **error.body()})}\n\n"
        return
    tokens = round(seconds * synthesizer.tts.codec.frame_rate)
    usage = {"input_tokens": len(request.input), "output_tokens": tokens, "total_tokens": len(request.input) + tokens}
    done = {"type": "speech.audio.done", "usage": usage, "seed": request.seed, "seconds": seconds}
    yield f"event: speech.audio.done\ndata: {json.dumps(done)}\n\n"


async def _batch_result(synthesizer: Synthesizer, item: BatchItem) -> dict[str, Any]:
    """Synthesize one text of a batch."""
    synthesizer.check_text(item.input)
    prompt, warnings = synthesizer.resolve_voice(item.voice_name)
    encoder = AudioEncoder(item.response_format, synthesizer.tts.codec.sample_rate)
    data = b""
    words: list[dict[str, Any]] = []
    seconds = 0.0
    async with synthesizer.slot():
        async for chunk in synthesizer.stream(synthesizer.speech(item.input, prompt, item)):
            data += encoder.encode(chunk.samples)
            words += [asdict(word) for word in chunk.words or []]
            seconds += chunk.duration
    data += encoder.finish()
    return {
        "audio_data": base64.b64encode(data).decode(),
        "media_type": MEDIA_TYPES[item.response_format],
        "seconds": seconds,
        "words": words,
        "warnings": warnings,
    }


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
