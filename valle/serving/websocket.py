"""The WebSocket: text arrives in pieces, and audio leaves while the text is still being written.

Client: `{"type": "session.config", ...}`, `{"type": "input.text", "text": "..."}` any number of times,
`{"type": "input.done"}`; then the next text, or `{"type": "session.close"}`. Server: `{"type": "audio.start", ...}`,
binary frames of audio, `{"type": "audio.words", "words": [...]}`, `{"type": "audio.done", ...}`, and
`{"type": "error", "error": {...}}`.
"""

from __future__ import annotations

import asyncio
import json
import queue
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Any

from fastapi import WebSocket, WebSocketDisconnect
from pydantic import ValidationError

from valle.serving.encoding import PCM_RATE, AudioEncoder
from valle.serving.errors import RequestError
from valle.serving.schemas import SessionConfig
from valle.serving.synthesis import Synthesizer

# Messages of text that wait to be read; then no more are received.
MAX_PIECES = 64
# Seconds without a message from a client whose text is not complete.
MAX_IDLE = 60.0


class _Pieces:
    """Text that arrives: read by the thread that synthesizes."""

    def __init__(self) -> None:
        self.queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def __iter__(self) -> Iterator[str]:
        while (piece := self.queue.get()) is not None:
            yield piece


async def serve_websocket(socket: WebSocket, synthesizer: Synthesizer) -> None:
    """Serve one client until it leaves."""
    await socket.accept()
    config = SessionConfig()
    try:
        while True:
            message = await _receive(socket)
            kind = message.get("type")
            if kind == "session.close":
                await socket.close()
                return
            try:
                if kind == "session.config":
                    wanted = SessionConfig(**{k: v for k, v in message.items() if k != "type"})
                    synthesizer.resolve_voice(wanted.voice_name)
                    config = wanted
                elif kind == "input.text":
                    await _utterance(socket, synthesizer, config, message)
                elif kind != "input.done":
                    raise RequestError(400, f"message type {kind!r} is not known; see the documentation", "type")
            except ValidationError as error:
                problem = error.errors()[0]
                name = ".".join(str(part) for part in problem["loc"])
                await _send_error(socket, RequestError(400, f"{name}: {problem['msg']}", name))
            except RequestError as error:
                await _send_error(socket, error)
    except WebSocketDisconnect:
        return


async def _receive(socket: WebSocket) -> dict[str, Any]:
    """Return the next message; one that is no JSON object has no type."""
    try:
        message = json.loads(await socket.receive_text())
    except (json.JSONDecodeError, KeyError):
        return {}
    return message if isinstance(message, dict) else {}


async def _send_error(socket: WebSocket, error: RequestError) -> None:
    await socket.send_text(json.dumps({"type": "error", **error.body()}))


async def _utterance(
    socket: WebSocket, synthesizer: Synthesizer, config: SessionConfig, message: dict[str, Any]
) -> None:
    """Synthesize a text while it arrives."""
    prompt, _ = synthesizer.resolve_voice(config.voice_name)
    pieces = _Pieces()
    reader = asyncio.create_task(_read_pieces(socket, synthesizer, pieces, message))
    writer = asyncio.create_task(_write_audio(socket, synthesizer, config, synthesizer.speech(pieces, prompt, config)))
    try:
        done, _ = await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()
    finally:
        pieces.queue.put(None)
        for task in (reader, writer):
            task.cancel()
        await asyncio.gather(reader, writer, return_exceptions=True)


async def _read_pieces(socket: WebSocket, synthesizer: Synthesizer, pieces: _Pieces, message: dict[str, Any]) -> None:
    """Pass text on until it is complete."""
    while True:
        if message.get("type") == "input.done":
            pieces.queue.put(None)
            return
        if message.get("type") != "input.text" or not isinstance(message.get("text"), str):
            raise RequestError(400, 'expected {"type": "input.text", "text": "..."} or {"type": "input.done"}', "type")
        synthesizer.check_text(message["text"])
        pieces.queue.put(message["text"])
        while pieces.queue.qsize() >= MAX_PIECES:
            await asyncio.sleep(0.05)
        try:
            message = await asyncio.wait_for(_receive(socket), MAX_IDLE)
        except asyncio.TimeoutError:
            raise RequestError(400, f"no text came for {MAX_IDLE:g} s; send input.done at its end") from None


async def _write_audio(socket: WebSocket, synthesizer: Synthesizer, config: SessionConfig, begin: Any) -> None:
    """Send audio as it is synthesized."""
    rate = PCM_RATE if config.response_format == "pcm" else synthesizer.tts.codec.sample_rate
    encoder = AudioEncoder(config.response_format, synthesizer.tts.codec.sample_rate)
    seconds = 0.0
    started = False
    async with aclosing(synthesizer.stream(begin)) as chunks:
        async for chunk in chunks:
            if not started:
                start = {"type": "audio.start", "format": config.response_format, "sample_rate": rate}
                await socket.send_text(json.dumps(start))
                started = True
            seconds += chunk.duration
            if data := encoder.encode(chunk.samples):
                await socket.send_bytes(data)
            if config.timestamps and chunk.words:
                words = [asdict(word) for word in chunk.words]
                await socket.send_text(json.dumps({"type": "audio.words", "words": words}))
    if data := encoder.finish():
        await socket.send_bytes(data)
    await socket.send_text(json.dumps({"type": "audio.done", "seconds": seconds, "seed": config.seed}))
