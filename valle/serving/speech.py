"""Routes that synthesize."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import aclosing
from dataclasses import asdict
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from valle.serving.encoding import MEDIA_TYPES, AudioEncoder
from valle.serving.errors import RequestError
from valle.serving.schemas import OPENAI_MODELS, BatchItem, BatchRequest, SpeechRequest
from valle.serving.settings import Settings
from valle.serving.synthesis import Synthesizer
from valle.synthesis.speech import SpeechChunk

# Status of a request whose client has left; it is seen in /metrics only.
CLIENT_LEFT = 499
Result = TypeVar("Result")
REFUSED = (400, 401, 403, 404, 413, 429, 503)


def _check_model(model: str | None, settings: Settings) -> None:
    if model is not None and model != settings.model and model not in OPENAI_MODELS:
        raise RequestError(404, f"model {model!r} is not served; use {settings.model!r}", "model")


def _warning_headers(warnings: list[str]) -> dict[str, str]:
    escaped = (warning.replace("\\", "").replace('"', "'") for warning in warnings)
    values = ", ".join(f'299 valle "{warning}"' for warning in escaped)
    return {"Warning": values.encode("ascii", "replace").decode()} if warnings else {}


def add_speech_routes(app: FastAPI, synthesizer: Synthesizer, settings: Settings) -> None:
    """Add POST /v1/audio/speech and /v1/audio/speech/batch."""
    audio = {media: {"schema": {"type": "string", "format": "binary"}} for media in sorted(set(MEDIA_TYPES.values()))}
    refused: dict[int | str, dict[str, Any]] = {
        code: {"description": "refused, with an error object"} for code in REFUSED
    }

    @app.post(
        "/v1/audio/speech",
        response_class=StreamingResponse,
        responses={200: {"description": "audio as it is synthesized", "content": audio}, **refused},
    )
    async def speech(request: SpeechRequest, http: Request) -> Response:
        """Synthesize a text; audio is sent while the rest is still being synthesized."""
        _check_model(request.model, settings)
        synthesizer.check_text(request.input)
        prompt, warnings = synthesizer.resolve_voice(request.voice_name)
        if request.instructions:
            warnings.append("instructions are ignored")
        chunks = synthesizer.stream(synthesizer.speech(request.input, prompt, request))
        # What is refused is refused before the status is sent.
        first = await unless_left(http, _first(chunks))
        headers = _warning_headers(warnings)
        if request.stream_format == "sse":
            events = _events(synthesizer, request, first, chunks)
            return StreamingResponse(events, media_type="text/event-stream", headers=headers)
        content = _encoded(synthesizer, request, first, chunks)
        return StreamingResponse(content, media_type=MEDIA_TYPES[request.response_format], headers=headers)

    @app.post("/v1/audio/speech/batch", responses=refused)
    async def batch(request: BatchRequest, http: Request) -> dict[str, Any]:
        """Synthesize several texts; each has a result or an error of its own."""
        _check_model(request.model, settings)
        results = []
        for index, item in enumerate(request.items):
            try:
                result = await unless_left(http, _batch_result(synthesizer, request.merged(item)))
                results.append({"index": index, "status": "success", **result})
            except RequestError as error:
                if error.status in (429, CLIENT_LEFT, 503):
                    raise
                results.append({"index": index, "status": "error", **error.body()})
        succeeded = sum(result["status"] == "success" for result in results)
        return {"results": results, "total": len(results), "succeeded": succeeded, "failed": len(results) - succeeded}


async def unless_left(http: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of some work, which is cancelled when the client of a request leaves.

    Args:
        http: The request.
        work: What is done for it before its response begins.

    Raises:
        RequestError: The client has left.
    """

    async def wait_until_left() -> None:
        # `Request.is_disconnected` never becomes true behind a middleware that is a function.
        while (await http.receive())["type"] != "http.disconnect":
            pass

    task = asyncio.create_task(work)
    left = asyncio.create_task(wait_until_left())
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise RequestError(CLIENT_LEFT, "the client has left")
    finally:
        task.cancel()
        left.cancel()


async def _first(chunks: AsyncIterator[SpeechChunk]) -> SpeechChunk | None:
    return await anext(chunks, None)


async def _encoded(
    synthesizer: Synthesizer,
    request: SpeechRequest,
    first: SpeechChunk | None,
    chunks: AsyncGenerator[SpeechChunk, None],
) -> AsyncIterator[bytes]:
    """Encode a stream."""
    encoder = AudioEncoder(request.response_format, synthesizer.tts.codec.sample_rate)
    async with aclosing(chunks):
        if first is not None:
            yield encoder.encode(first.samples)
        async for chunk in chunks:
            if data := encoder.encode(chunk.samples):
                yield data
        yield encoder.finish()


async def _events(
    synthesizer: Synthesizer,
    request: SpeechRequest,
    first: SpeechChunk | None,
    chunks: AsyncGenerator[SpeechChunk, None],
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
        async with aclosing(chunks):
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
    async with aclosing(synthesizer.stream(synthesizer.speech(item.input, prompt, item))) as chunks:
        async for chunk in chunks:
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
