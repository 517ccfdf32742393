"""The parts of a text that are decoded by themselves, and the audio that is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from valle.audio import Audio
from valle.errors import UserError
from valle.synthesis.prompt import Prompt
from valle.text import TextUnits
from valle.text.sentences import Boundary, Part, split

MAX_PART = 150  # text units of one decoding, about 10 seconds as most training utterances; longer text is split
MAX_CONTINUATION = 600  # text units of a text that begins with the prompt's words, which cannot be split
PAUSE_AFTER: dict[Boundary, float] = {"sentence": 0.3, "clause": 0.1, "word": 0.0, "none": 0.0}  # seconds
FADE = 0.005  # seconds at either end of a part
# Distance between the seeds of the parts of one text. Generators use 32 bits of a seed.
PART_SEED = 7_919


@dataclass(frozen=True)
class PartJob:
    """A part of a text to decode, and what conditions it.

    Attributes:
        text: Index of the text.
        part: Its symbols, and the boundary after it.
        joint: (time,) ids of the prompt's text and the part's.
        target: (time,) ids of the part's text.
        prompt: The voice.
        seed: Of its first candidate.
        first: (time,) first codebook where it is given; None: the AR model predicts it.
        language: espeak-ng language tag of the text.
        durations: Frames before the part's first symbol and of each of its symbols, where they are given.
    """

    text: int
    part: Part
    joint: Tensor
    target: Tensor
    prompt: Prompt
    seed: int
    language: str
    first: Tensor | None = None
    durations: Sequence[float] | None = None

    @property
    def continued_codes(self) -> Tensor:
        """(time,) first codes of the prompt where the text begins with its words; else none."""
        frames = len(self.prompt.codes) if self.prompt.mode == "continuation" else 0
        return self.prompt.codes[:frames, 0]


def split_text(symbols: Sequence[str], prompt: Prompt, units: TextUnits) -> list[Part]:
    """Split a text into parts of at most `MAX_PART` units.

    Args:
        symbols: Text units of the text.
        prompt: The voice; a text that continues it stays whole.
        units: What the symbols are.

    Raises:
        UserError: A text that continues its prompt has more than `MAX_CONTINUATION` units.
    """
    target = list(symbols)
    if prompt.mode != "continuation":
        return split(target, MAX_PART, units.length)
    if units.length(target) > MAX_CONTINUATION:
        raise UserError(
            f"a text of {units.length(target)} units that begins with the prompt's words is too long to continue "
            f"(at most {MAX_CONTINUATION}); give the prompt's text and the rest apart"
        )
    return [Part(target, "none")]


def pause_after(part: Part, sample_rate: int) -> np.ndarray:
    """Return the silence after a part, (time,) float32."""
    return np.zeros(round(PAUSE_AFTER[part.boundary] * sample_rate), np.float32)


def faded(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Fade both ends of a part in and out, so that no step is heard where it is joined: (time,) -> (time,)."""
    ramp = np.minimum(1, np.arange(1, len(samples) + 1) / (FADE * sample_rate)).astype(np.float32)
    return samples * ramp * ramp[::-1]


def join_parts(parts: Sequence[Part], audio: Sequence[Audio]) -> Audio:
    """Join the audio of a text's parts with pauses between them."""
    if len(parts) == 1:
        return audio[0]
    pieces = []
    for part, piece in zip(parts, audio, strict=True):
        pieces += [piece.samples, pause_after(part, piece.sample_rate)]
    return Audio(np.concatenate(pieces), audio[0].sample_rate)
