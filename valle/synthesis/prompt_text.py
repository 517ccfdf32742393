"""Check whether the text of a prompt matches its recording, by the phones of the first codes or by the duration.

The limits are set so that recordings with a correct text are hardly ever reported.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from valle.audio import Audio
from valle.codec import Codec
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.errors import warn_user
from valle.extensions.phone_alignment import PAUSE, align_phones, phones_of
from valle.synthesis.prompt import Prompt, PromptWarning
from valle.synthesis.speech_activity import analyze
from valle.text import TextUnits

# Maximum share of speech frames that encode another phone than the text has.
MAX_WRONG = 0.68
# Evidence that consecutive phones of the text are missing from the recording: each missing phone adds to it, each
# present one subtracts from it. The text does not match above the limit.
MAX_MISSING_EVIDENCE = 7.0
MISSING_PHONE = 0.6
PRESENT_PHONE = 1.0
# Evidence, in seconds, that consecutive speech of the recording is missing from the text: each second of wrong frames
# adds to it, each second of correct ones subtracts from it.
MAX_SURPLUS_EVIDENCE = 0.4
WRONG_FRAME = 0.35
CORRECT_FRAME = 0.65
# Minimum and maximum number of phones per second of speech, for codecs whose codes do not stand for phones.
PHONES_PER_SECOND = (6.0, 22.0)


def warn_if_text_differs(
    recording: str | Path, waveform: Audio, prompt: Prompt, codec: Codec, units: TextUnits
) -> None:
    """Warn when the text of a prompt does not seem to match its recording.

    Args:
        recording: Name of the recording, for the message.
        waveform: The corrected recording.
        prompt: Codes of the recording and units of its text.
        codec: Codec that encoded it.
        units: Kind of the text units. Nothing is checked for byte pair encoding, whose units are not phones.

    Warns:
        PromptWarning: The text does not match.
    """
    phones = [] if units.bpe else phones_of(list(prompt.symbols))
    if not phones:
        return
    if isinstance(codec, PhoneLabelledCodec):
        problem = compare(codec.phones[prompt.codes[:, 0]].numpy(), phones, codec.frame_rate)
    else:
        problem = compare_duration(analyze(waveform.samples, waveform.sample_rate).seconds, len(phones))
    if problem:
        message = f"{recording}: {problem}; correct the prompt's text, or leave it out to use the voice alone"
        warn_user(message, PromptWarning)


def compare(encoded: np.ndarray, text: list[int], frame_rate: float) -> str | None:
    """Compare the phones of a recording with those of a text.

    Args:
        encoded: (time,) class of the phone that each frame's first code stands for.
        text: Classes of the phones of the text.
        frame_rate: Frames per second.

    Returns:
        A message that says how they differ; None when they match.
    """
    path, _ = align_phones(encoded, text, frame_rate)
    # Odd states of the path are phones of the text, even ones are pauses (see `align_phones`).
    expected = np.append(text, PAUSE)[np.where(path % 2 == 1, path // 2, -1)]
    speech = encoded != PAUSE
    wrong = speech & (encoded != expected)
    present = np.zeros(len(text), bool)
    present[path[path % 2 == 1] // 2] = True
    missing = _max_run_sum(np.where(present, -PRESENT_PHONE, MISSING_PHONE))
    surplus = _max_run_sum(np.where(speech, np.where(wrong, WRONG_FRAME, -CORRECT_FRAME), 0.0)) / frame_rate
    if missing > MAX_MISSING_EVIDENCE:
        return "says less than its text, or something else"
    if surplus > MAX_SURPLUS_EVIDENCE:
        return "says more than its text, or something else"
    if wrong.sum() > MAX_WRONG * max(1, speech.sum()):
        return "does not seem to say its text"
    return None


def compare_duration(seconds: float, phones: int) -> str | None:
    """Compare the duration of speech with the number of phones of a text.

    Args:
        seconds: Duration of speech.
        phones: Number of phones.

    Returns:
        A message that says how they differ; None when the speaking rate is plausible.
    """
    min_rate, max_rate = PHONES_PER_SECOND
    rate = phones / max(seconds, 0.01)
    if rate > max_rate:
        return f"says less than its text ({phones} phones in {seconds:.1f} s of speech)"
    if rate < min_rate:
        return f"says more than its text ({phones} phones in {seconds:.1f} s of speech)"
    return None


def _max_run_sum(values: np.ndarray) -> float:
    """Return the largest sum of consecutive values of (n,), 0 when none is positive."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    return float((total - np.minimum.accumulate(total)).max())
