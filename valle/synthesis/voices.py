"""Bundled voices: recordings in `valle/assets/voices`, each a folder with `voice.flac` and `voice.json`.

A voice is a recording and its text, not codes: every model encodes it with its own codec.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from valle.audio import Audio
from valle.errors import UserError
from valle.files import write_text

FOLDER = Path(__file__).parents[1] / "assets" / "voices"
RECORDING, FACTS = "voice.flac", "voice.json"
DEFAULT = "clara"


@dataclass(frozen=True)
class Voice:
    """A recording that is bundled.

    Attributes:
        recording: the file.
        text: what it says.
        language: of the text, as espeak-ng's tag.
    """

    recording: Path
    text: str
    language: str


def voices() -> list[str]:
    """Names of the bundled voices, sorted."""
    return sorted(folder.name for folder in FOLDER.iterdir() if (folder / FACTS).is_file())


def find_voice(name: str) -> Voice:
    """The bundled voice of that name. Raises UserError when there is none."""
    known = voices()
    if name not in known:
        raise UserError(f"voice {name!r} is not bundled; give one of {', '.join(known)}, or a recording as the prompt")
    facts = json.loads((FOLDER / name / FACTS).read_text(encoding="utf-8"))
    return Voice(FOLDER / name / RECORDING, facts["text"], facts["language"])


def store_voice(name: str, sound: Audio, *, text: str, source: str, licence: str) -> Path:
    """Write a voice to `FOLDER`.

    Args:
        name: of its folder.
        sound: the recording.
        text: what it says, in American English.
        source: who or what spoke it.
        licence: of the recording.

    Returns:
        The voice's folder.
    """
    folder = FOLDER / name
    sound.save(folder / RECORDING)
    facts = {"text": text, "language": "en-us", "source": source, "licence": licence}
    write_text(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    return folder
