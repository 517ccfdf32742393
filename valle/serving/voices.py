"""Routes of voices."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, UploadFile

from valle.errors import UserError
from valle.serving.errors import RequestError
from valle.serving.synthesis import Synthesizer
from valle.synthesis.saved_voices import SavedVoice, read_voice, saved_names, voice_path
from valle.synthesis.voices import DEFAULT, describe_voice, voices


def _describe(voice: SavedVoice) -> dict[str, Any]:
    return {**voice.describe(), "bundled": False, "default": False}


def list_voices() -> list[dict[str, Any]]:
    """Return all voices; those whose file is damaged are left out."""
    result: list[dict[str, Any]] = []
    for name in voices():
        result.append({"name": name, **describe_voice(name), "bundled": True, "default": name == DEFAULT})
    for name in saved_names():
        try:
            result.append(_describe(read_voice(voice_path(name), name)))
        except UserError:
            continue
    return result


def add_voice_routes(app: FastAPI, synthesizer: Synthesizer) -> None:
    """Add GET, POST and DELETE of /v1/audio/voices."""

    @app.get("/v1/audio/voices")
    def get_voices() -> dict[str, Any]:
        """List bundled and saved voices."""
        found = list_voices()
        return {"object": "list", "voices": [voice["name"] for voice in found], "data": found}

    codes = (400, 401, 404, 409, 413)
    refused: dict[int | str, dict[str, Any]] = {c: {"description": "refused, with an error object"} for c in codes}

    @app.post("/v1/audio/voices", status_code=201, responses=refused)
    async def post_voice(
        name: Annotated[str, Form(description="letters, digits, hyphens, underscores and points")],
        audio_sample: Annotated[UploadFile, File(description="0.5 to 30 seconds of one person speaking")],
        text: Annotated[str, Form(description="what the recording says")] = "",
        consent: Annotated[str, Form(description="note about the speaker's consent")] = "",
        language: Annotated[str | None, Form(description="espeak-ng language tag of the recording")] = None,
    ) -> dict[str, Any]:
        """Save the voice of a recording."""
        data = await audio_sample.read()
        suffix = Path(audio_sample.filename or "").suffix
        voice = await asyncio.to_thread(_save, synthesizer, name, data, suffix, text, language or None, consent)
        return {**_describe(voice), "warnings": voice.problems}

    @app.delete("/v1/audio/voices/{name}", responses=refused)
    def delete_voice(name: str) -> dict[str, Any]:
        """Delete a saved voice."""
        try:
            path = voice_path(name)
        except UserError as error:
            raise RequestError(404, str(error), "name") from error
        if name not in saved_names():
            bundled = name in voices()
            reason = "is bundled and stays" if bundled else "is not saved"
            raise RequestError(400 if bundled else 404, f"voice {name!r} {reason}", "name")
        path.unlink(missing_ok=True)
        return {"name": name, "deleted": True}


def _save(
    synthesizer: Synthesizer, name: str, data: bytes, suffix: str, text: str, language: str | None, consent: str
) -> SavedVoice:
    """Save a recording that was uploaded."""
    try:
        path = voice_path(name)
    except UserError as error:
        raise RequestError(400, str(error), "name") from error
    if path.exists():
        raise RequestError(409, f"voice {name!r} is saved already; delete it first, or give another name", "name")
    with TemporaryDirectory() as folder:
        recording = Path(folder) / f"recording{suffix if suffix.isascii() and len(suffix) < 8 else ''}"
        recording.write_bytes(data)
        try:
            with synthesizer.engine.exclusive():
                return synthesizer.tts.save_voice(name, recording, text or None, language, consent)
        except UserError as error:
            # The path of the temporary file tells the client nothing.
            raise RequestError(400, str(error).replace(str(recording), "audio_sample"), "audio_sample") from error
