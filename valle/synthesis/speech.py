"""What synthesis returns, and the warnings that it falls short of its text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from valle.audio import Audio
from valle.errors import warn_user
from valle.extensions.phone_alignment import Quality
from valle.synthesis.selection import SampledSequence, Selected
from valle.synthesis.timing import TimedWord


class TruncatedWarning(UserWarning):
    """EOS did not come before the length bound; the speech was cut there."""


class IncompleteWarning(UserWarning):
    """Words of the text are missing in the speech, by the phones that its codes stand for."""


class DoubtfulWarning(UserWarning):
    """Phones are missing, or others are spoken than the text's, by the phones that the speech's codes stand for."""


@dataclass
class Speech:
    """One synthesized text.

    Attributes:
        audio: Waveform.
        codes: (time, codebook) of all parts, without the pauses between them.
        truncated: Whether the length bound was reached before EOS, in at least one part.
        quality: Alignment of the codes with the text; None where codes do not stand for phones.
        incomplete: Whether words of the text are missing in at least one part, as far as `quality` can tell.
        durations: Each symbol of the text and its frames, of models with a phoneme stream; each part begins with "" and
            the frames before its first symbol. None where the model does not tell.
        sampled: Sequence of the AR model, where one candidate of a text of one part was decoded; else None.
        words: When each word of the text is spoken; None where the model does not tell.
        marks: Name and second of each mark of the text; None where the model does not tell.
        seed: Seed that gives the same speech again.
        warnings: Where the speech falls short of its text.
        chapter: Title of the chapter that begins with it; None: none begins.
    """

    audio: Audio
    codes: Tensor
    truncated: bool
    quality: Quality | None = None
    incomplete: bool = False
    durations: list[tuple[str, int]] | None = None
    sampled: SampledSequence | None = None
    words: list[TimedWord] | None = None
    marks: list[tuple[str, float]] | None = None
    seed: int = 0
    warnings: list[str] = field(default_factory=list)
    chapter: str | None = None


@dataclass
class SpeechChunk(Audio):
    """A chunk of streamed speech.

    Attributes:
        words: The words whose times became known with it, in seconds from the beginning of the stream; None where the
            model does not tell.
        codes: (time, codebook) codes that were decoded since the last chunk.
    """

    words: list[TimedWord] | None = None
    codes: Tensor = field(default_factory=lambda: torch.zeros(0, 8, dtype=torch.long))


def symbol_durations(symbols: Sequence[str], spoken: Tensor) -> list[tuple[str, int]]:
    """Return the frames before the first symbol, as those of "", and of each symbol.

    Args:
        symbols: Of a text.
        spoken: (time,) index of the symbol in each frame, -1 before the first.
    """
    frames = torch.bincount(spoken + 1, minlength=len(symbols) + 1)
    return list(zip(("", *symbols), frames.tolist(), strict=True))


def warn_of_shortfall(text: str, selected: Selected, frame_rate: float) -> list[str]:
    """Warn when an utterance is truncated, or when phones of its text are missing.

    Args:
        text: The text, for the message.
        selected: Its first codebook.
        frame_rate: Hertz.

    Returns:
        The warnings.
    """
    messages = []
    if selected.truncated:
        seconds = len(selected.codes) / frame_rate
        message = f"text {text[:40]!r}: no end was found, cut at {seconds:.1f} s; try another seed or a longer prompt"
        warn_user(message, TruncatedWarning)
        messages.append(message)
    quality = selected.quality
    if quality is not None and quality.verdict != "complete":
        message = (
            f"text {text[:40]!r}: {100 * quality.missing_phones:.0f} % of its phones are missing and "
            f"{100 * quality.wrong_frames:.0f} % of the speech is something else; try another seed, a clearer prompt, "
            "or a prompt with its text"
        )
        category = IncompleteWarning if quality.verdict == "incomplete" else DoubtfulWarning
        warn_user(message, category)
        messages.append(message)
    return messages
