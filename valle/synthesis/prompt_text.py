"""Whether a prompt's recording says its text: read from the phones of its first codes, or from its duration.

The limits are set so that recordings with their true text are hardly ever reported.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from valle.audio import Audio
from valle.codec import Codec
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.extensions.phone_alignment import PAUSE, align_phones, phones_of
from valle.synthesis.prompt import Prompt, PromptWarning
from valle.synthesis.speech_activity import analyze
from valle.text import TextUnits

WRONG = 0.68  # share of the speech frames that have another phone than the text
# Evidence that a stretch of the text's phones is not in the recording: `FOUND` off for each that is, `MISSED` for each
# that is not; and that a stretch of the recording (in seconds) is not in the text, by its frames.
MISSING, FOUND, MISSED = 7.0, 1.0, 0.6
SURPLUS, RIGHT, OTHER = 0.4, 0.65, 0.35
PHONES_PER_SECOND = (6.0, 22.0)  # of speech, where codes do not stand for phones


def warn_of_other_text(recording: str | Path, sound: Audio, prompt: Prompt, codec: Codec, units: TextUnits) -> None:
    """Warn (PromptWarning) when a prompt's recording does not seem to say its text.

    Args:
        recording: its name, for the message.
        sound: what it says.
        prompt: its codes and the units of its text.
        codec: that encoded it.
        units: what the prompt's symbols are; nothing is told for byte pair encoding, whose units are not phones.
    """
    phones = [] if units.bpe else phones_of(list(prompt.symbols))
    if not phones:
        return
    if isinstance(codec, PhoneLabelledCodec):
        reason = compare(codec.phones[prompt.codes[:, 0]].numpy(), phones, codec.frame_rate)
    else:
        reason = compare_duration(analyze(sound.samples, sound.sample_rate).seconds, len(phones))
    if reason:
        message = f"{recording}: {reason}; correct the prompt's text, or leave it out to use the voice alone"
        warnings.warn(message, PromptWarning, stacklevel=4)


def compare(said: np.ndarray, text: list[int], frame_rate: float) -> str | None:
    """Say what a recording has wrong of a text; None when it says it.

    Args:
        said: (time,) class of the phone that each frame's first code stands for.
        text: classes of the text's phones.
        frame_rate: frames per second.
    """
    path, _ = align_phones(said, text, frame_rate)
    speech = said != PAUSE
    expected = np.append(text, PAUSE)[np.where(path % 2 == 1, path // 2, -1)]
    other = speech & (said != expected)
    found = np.zeros(len(text), bool)
    found[path[path % 2 == 1] // 2] = True
    surplus = _largest_sum(np.where(speech, np.where(other, OTHER, -RIGHT), 0.0)) / frame_rate
    if _largest_sum(np.where(found, -FOUND, MISSED)) > MISSING:
        return "says less than its text, or something else"
    if surplus > SURPLUS:
        return "says more than its text, or something else"
    if other.sum() > WRONG * max(1, speech.sum()):
        return "does not seem to say its text"
    return None


def compare_duration(seconds: float, phones: int) -> str | None:
    """Say whether so many phones fit into so many seconds of speech; None when they do."""
    rate = phones / max(seconds, 0.01)
    if rate > PHONES_PER_SECOND[1]:
        return f"says less than its text ({phones} phones in {seconds:.1f} s of speech)"
    if rate < PHONES_PER_SECOND[0]:
        return f"says more than its text ({phones} phones in {seconds:.1f} s of speech)"
    return None


def _largest_sum(values: np.ndarray) -> float:
    """The largest sum of a stretch of (n,) values, 0 when none is positive."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    return float((total - np.minimum.accumulate(total)).max())
