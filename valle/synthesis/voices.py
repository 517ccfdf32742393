"""Bundled voices: folders of `valle/assets/voices`, each with a recording `voice.flac` and its metadata `voice.json`.

A voice is stored as audio, not as codes: every model encodes it with its own codec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from valle.audio import Audio
from valle.errors import UserError
from valle.files import write_text

FOLDER = Path(__file__).parents[1] / "assets" / "voices"
RECORDING = "voice.flac"
METADATA = "voice.json"
DEFAULT = "clara"


@dataclass(frozen=True)
class Voice:
    """A bundled voice.

    Attributes:
        recording: Path of the recording.
        text: Transcript of the recording.
        language: Language of the text, as a tag of espeak-ng.
    """

    recording: Path
    text: str
    language: str


def voices() -> list[str]:
    """Return the names of the bundled voices, sorted."""
    return sorted(folder.name for folder in FOLDER.iterdir() if (folder / METADATA).is_file())


def find_voice(name: str) -> Voice:
    """Find a bundled voice.

    Args:
        name: Name of the voice.

    Returns:
        The voice.

    Raises:
        UserError: There is no voice of that name.
    """
    names = voices()
    if name not in names:
        raise UserError(
            f"there is no voice {name!r}; give one of {', '.join(names)}, or save one with: valle-voice add {name} FILE"
        )
    metadata = json.loads((FOLDER / name / METADATA).read_text(encoding="utf-8"))
    return Voice(FOLDER / name / RECORDING, metadata["text"], metadata["language"])


def describe_voice(name: str) -> dict[str, str]:
    """Return the metadata of a bundled voice: text, language, source and licence.

    Raises:
        UserError: There is no voice of that name.
    """
    find_voice(name)
    return json.loads((FOLDER / name / METADATA).read_text(encoding="utf-8"))


def store_voice(name: str, waveform: Audio, *, text: str, source: str, licence: str) -> Path:
    """Write a voice to `FOLDER`.

    Args:
        name: Name of the voice and of its folder.
        waveform: The recording.
        text: Its transcript, in American English.
        source: Speaker or synthesizer of the recording.
        licence: Licence of the recording.

    Returns:
        The folder of the voice.
    """
    folder = FOLDER / name
    waveform.save(folder / RECORDING)
    metadata = {"text": text, "language": "en-us", "source": source, "licence": licence}
    write_text(folder / METADATA, json.dumps(metadata, indent=2) + "\n")
    return folder
