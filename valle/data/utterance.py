"""The utterance of a speech corpus, as every part of the data pipeline exchanges it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Seconds. `valle-tokenize` refuses longer utterances: a codec holds the whole waveform in memory.
MAX_DURATION = 60.0


@dataclass(frozen=True)
class AudioSegment:
    """A part of an audio file.

    Attributes:
        path: Audio file.
        start: Start in the file, in seconds.
        end: End in the file, in seconds.
    """

    path: Path
    start: float
    end: float


@dataclass(frozen=True)
class Utterance:
    """One utterance: its transcript, its speaker and its audio.

    Attributes:
        id: Name of the utterance, unique in its corpus and usable as a file name.
        path: Audio file.
        text: Transcript; "" if it is not available.
        speaker: Name of the speaker.
        start: Start in the audio file, in seconds.
        end: End in the audio file, in seconds; None for the end of the file.
        duration: Length in seconds; None if it is not available.
        phones: `(phone, start)` pairs in temporal order: the phone in IPA, or "" for a pause, and the time at which it
            starts, in seconds from the start of the utterance. None if the utterance is not aligned.
        recording: Name of the audio file in wav.scp, if the utterance is a segment of it; None for the stem of the
            file name.
        prompt: Other speech of the same speaker, used as an untranscribed prompt in training; None for no prompt.
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
    prompt: AudioSegment | None = None
