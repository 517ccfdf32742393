"""One utterance of a corpus."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MAX_DURATION = 40.0  # seconds; valle-tokenize refuses longer utterances


@dataclass(frozen=True)
class Stretch:
    """A part of an audio file, from `start` to `end` in seconds."""

    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """One utterance: a text, who speaks it, and where its audio is.

    Attributes:
        id: Name of the utterance, unique in its corpus and usable as a file name.
        path: Audio file.
        text: Transcript.
        speaker: Name of the speaker.
        start: Begin in the audio file, in seconds.
        end: End in the audio file, in seconds; None means the end of the file.
        duration: Length in seconds; None where it is not available.
        phones: Each phone with the second of the utterance at which it begins, "" for a pause; None where the
            utterance is not aligned.
        recording: Name of the audio file in wav.scp, where the utterance is a segment of it; None means the file's own
            name.
        prompt: Other speech of the same speaker, an untranscribed prompt to train with; None where there is none.
    """

    id: str
    path: Path
    text: str
    speaker: str
    start: float = 0.0
    end: float | None = None
    duration: float | None = None
    phones: tuple[tuple[str, float], ...] | None = None
    recording: str | None = None
    prompt: Stretch | None = None
