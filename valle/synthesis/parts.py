"""The parts of a text that are decoded by themselves, and the audio that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from valle.audio import Audio
from valle.synthesis.options import SynthesisOptions
from valle.synthesis.planning import TextPart
from valle.synthesis.prompt import Prompt
from valle.text.script import Ending

# Seconds of silence after a part.
PAUSE_AFTER: dict[Ending, float] = {"paragraph": 0.8, "sentence": 0.3, "clause": 0.1, "none": 0.0}
FADE = 0.005  # seconds at either end of a part
# Distance between the seeds of the parts of one text. Generators use 32 bits of a seed.
PART_SEED = 7_919


@dataclass(frozen=True)
class PartJob:
    """A part of a text to decode, and what conditions it.

    Attributes:
        text: Index of the text.
        part: Its symbols, and what follows it.
        joint: (time,) ids of the prompt's text and the part's.
        target: (time,) ids of the part's text.
        prompt: The voice.
        seed: Of its first candidate.
        first: (time,) first codebook where it is given; None: the AR model predicts it.
        language: espeak-ng language tag of the text.
        durations: Frames before the part's first symbol and of each of its symbols, where they are given.
    """

    text: int
    part: TextPart
    joint: Tensor
    target: Tensor
    prompt: Prompt
    seed: int
    language: str
    first: Tensor | None = None
    durations: Sequence[float] | None = None

    @property
    def symbols(self) -> list[str]:
        """The part's text units."""
        return list(self.part.encoded.symbols)

    @property
    def continued_codes(self) -> Tensor:
        """(time,) first codes of the prompt where the text begins with its words; else none."""
        frames = len(self.prompt.codes) if self.prompt.mode == "continuation" else 0
        return self.prompt.codes[:frames, 0]


def pause_seconds(part: TextPart, options: SynthesisOptions, *, last: bool) -> float:
    """Return the seconds of silence after a part.

    Args:
        part: The part.
        options: May tell the pauses after sentences and paragraphs.
        last: Whether nothing follows, so that only a pause that the text asks for is made.
    """
    if part.pause is not None:
        return part.pause
    if last:
        return 0.0
    chosen = {"sentence": options.pause_sentence, "paragraph": options.pause_paragraph}.get(part.ending)
    return PAUSE_AFTER[part.ending] if chosen is None else chosen


def silence(seconds: float, sample_rate: int) -> np.ndarray:
    """Return (time,) float32 zeros."""
    return np.zeros(round(seconds * sample_rate), np.float32)


def faded(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fade both ends of a part in and out, so that no step is heard where it is joined: (time,) -> (time,)."""
    ramp = np.minimum(1, np.arange(1, len(samples) + 1) / (FADE * sample_rate)).astype(np.float32)
    return samples * ramp * ramp[::-1]


def with_silence(audio: Audio, before: float, after: float) -> Audio:
    """Return audio with seconds of silence around it."""
    if before == after == 0:
        return audio
    rate = audio.sample_rate
    return Audio(np.concatenate((silence(before, rate), audio.samples, silence(after, rate))), rate)
