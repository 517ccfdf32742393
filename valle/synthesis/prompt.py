"""Voice prompts: reading a recording, correcting it, and choosing the part of it that gives the voice.

Recordings come as people have them: with silence around the speech, too quiet, with a direct current offset. What can
be corrected is, and each correction is a line of the log `valle`; what cannot is a `PromptWarning`, or a UserError
where no voice is left. docs/prompts.md describes it for users.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from valle import audio
from valle.audio import Audio
from valle.errors import UserError
from valle.synthesis.prompt_checks import clipped_samples, suspicions
from valle.synthesis.speech_activity import HOP, Frames, analyze, runs

# Seconds: of speech that a prompt needs; of a prompt with text; of what is used of a prompt without text.
MIN_PROMPT, MAX_PROMPT, VOICE_PROMPT = 0.5, 30.0, 3.0
MAX_RECORDING = 300.0  # seconds of a recording in which the best part is looked for
SILENCE = -60.0  # decibels relative to full scale
VOICED = 0.1  # seconds of voiced speech that a prompt needs: noise has none
SILENCE_BEFORE, SILENCE_AFTER = 0.1, 0.15  # seconds that stay around the speech
LONGEST_PAUSE = 0.4  # seconds: of a prompt without text, longer pauses are cut to it
TRIMMED = 0.1  # seconds: what is less is cut without a word
OFFSET = 0.05  # direct current offset relative to the root mean square, below which it is noise
# Decibels relative to full scale, of speech frames: the median of LibriSpeech's recordings, most of what the bundled
# model was trained on; 90 % of them are within some 7 dB. Within `LEVEL_RANGE` of it nothing is changed.
LEVEL, LEVEL_RANGE = -23.0, 4.0
PEAK = 0.95  # of full scale, which no sample exceeds when a prompt is made louder

logger = logging.getLogger("valle")


class PromptWarning(UserWarning):
    """A prompt that will give a poor voice: noise, clipping, music, two voices, or a text that is not what it says."""


PromptMode = Literal["transcribed", "untranscribed", "continuation"]


@dataclass(frozen=True)
class Prompt:
    """A voice prompt as the models read it.

    Attributes:
        codes: (time, codebook).
        symbols: Text units of what it says, where it is transcribed.
        mode: "transcribed", a prefix whose text stands before the target's (VALL-E, section 4.3); "untranscribed",
            which conditions on the voice alone; or "continuation", a prefix whose words the target's text begins with
            (VALL-E-continual).
    """

    codes: Tensor
    symbols: tuple[str, ...] = ()
    mode: PromptMode = "untranscribed"


def read_prompt(recording: str | Path, sample_rate: int, *, with_text: bool) -> Audio:
    """Read a recording and correct it: offset, silence around the speech, loudness.

    Args:
        recording: any file that `valle.audio.read` reads.
        sample_rate: hertz, of the result.
        with_text: whether its text is given, so that all that it says must stay. Otherwise long pauses are cut and the
            best `VOICE_PROMPT` seconds are chosen.

    Returns:
        The speech, with `SILENCE_BEFORE` and `SILENCE_AFTER` seconds around it.

    Raises:
        UserError: when it is not a recording, is too long, is silent, or holds less than `MIN_PROMPT` s of speech.

    Warns:
        PromptWarning: for each suspicion of `valle.synthesis.prompt_checks`.
    """
    sound = _read(recording, sample_rate, MAX_PROMPT if with_text else MAX_RECORDING)
    samples, done = _without_offset(sound.samples)
    frames = analyze(samples, sample_rate)
    if frames.level.max() < SILENCE:
        raise UserError(f"{recording}: is silent; give a recording of a voice")
    kept = speech_part(frames) if with_text else _short_pauses(frames)
    frames = kept.of(frames)
    spoken = np.flatnonzero(frames.speech)
    seconds = float(np.ptp(spoken) + 1) * HOP if len(spoken) else 0.0
    if seconds < MIN_PROMPT - 2 * HOP:
        raise UserError(f"{recording}: holds {seconds:.2f} s of speech; a prompt needs {MIN_PROMPT} s, better 3 s")
    if frames.voiced_seconds < VOICED:
        raise UserError(f"{recording}: holds noise, no voice; give a recording of someone speaking")
    done += kept.changes(sound.duration)
    samples = kept.samples(samples, sample_rate)
    if not with_text and len(samples) > round(VOICE_PROMPT * sample_rate):
        start = best_window(samples, frames, VOICE_PROMPT, sample_rate)
        done.append(f"{VOICE_PROMPT:g} s of {len(samples) / sample_rate:.1f} s of speech are used, from {start:.1f} s")
        samples = samples[round(start * sample_rate) :][: round(VOICE_PROMPT * sample_rate)]
        frames = analyze(samples, sample_rate)
    found = suspicions(samples, frames, sample_rate)
    samples, gain = at_level(samples, frames)
    if gain:
        done.append(f"{gain:+.0f} dB, to the loudness of the training data")
    for line in done:
        logger.info("%s: %s", recording, line)
    for line in found:
        warnings.warn(f"{recording}: {line}", PromptWarning, stacklevel=4)
    return Audio(samples, sample_rate)


def read_prefix(recording: str | Path, sample_rate: int) -> Audio:
    """Read a recording whose text is continued: only a direct current offset is removed.

    The speech that follows begins where the recording ends and is scored with it, so timing and loudness are part of
    the task; the papers' protocol prescribes how many seconds are given.
    """
    sound = _read(recording, sample_rate, MAX_PROMPT)
    if audio.loudness(sound.samples) < SILENCE:
        raise UserError(f"{recording}: is silent; give a recording of a voice")
    samples, _ = _without_offset(sound.samples)
    return Audio(samples, sample_rate)


def _read(recording: str | Path, sample_rate: int, max_duration: float) -> Audio:
    sound = audio.read(recording, sample_rate, max_duration=max_duration)
    if sound.duration < MIN_PROMPT:
        raise UserError(f"{recording}: lasts {sound.duration:.3f} s; a prompt needs {MIN_PROMPT} s, better 3 s")
    return sound


def _without_offset(samples: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """(time,) samples with their mean at zero, and a line for the log where it was not."""
    mean = float(np.mean(samples, dtype=np.float64))
    if abs(mean) <= OFFSET * float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))):
        return samples, []
    return (samples - np.float32(mean)), [f"direct current offset of {mean:+.3f} removed"]


@dataclass(frozen=True)
class _Kept:
    """Stretches of a recording that are kept: (start, end) in frames of `HOP` seconds."""

    stretches: list[tuple[int, int]]

    def of(self, frames: Frames) -> Frames:
        """The frames of the stretches."""

        def join(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values[start:end] for start, end in self.stretches])

        return Frames(join(frames.level), join(frames.speech), join(frames.pitch))

    def samples(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """The samples of the stretches: (time,) -> (time,)."""
        hop = round(HOP * sample_rate)
        return np.concatenate([samples[start * hop : end * hop] for start, end in self.stretches])

    def changes(self, seconds: float) -> list[str]:
        """Lines for the log: what was cut from a recording of `seconds`."""
        before = self.stretches[0][0] * HOP
        after = seconds - self.stretches[-1][1] * HOP
        within = seconds - before - after - sum(end - start for start, end in self.stretches) * HOP
        done = []
        if before >= TRIMMED or after >= TRIMMED:
            done.append(f"silence trimmed: {before:.1f} s before the speech, {max(0.0, after):.1f} s after it")
        if within >= TRIMMED:
            done.append(f"{within:.1f} s cut from long pauses")
        return done


def speech_part(frames: Frames) -> _Kept:
    """From the first speech frame to the last, with a little silence around."""
    spoken = np.flatnonzero(frames.speech)
    if len(spoken) == 0:
        return _Kept([(0, 0)])
    start = max(0, int(spoken[0]) - round(SILENCE_BEFORE / HOP))
    return _Kept([(start, min(len(frames.speech), int(spoken[-1]) + 1 + round(SILENCE_AFTER / HOP)))])


def _short_pauses(frames: Frames) -> _Kept:
    """As `speech_part`, the middles of long pauses left out."""
    ((begin, end),) = speech_part(frames).stretches
    longest = round(LONGEST_PAUSE / HOP)
    stretches = []
    start = begin
    for first, last in runs(~frames.speech[begin:end]):
        if last - first > longest:
            stretches.append((start, begin + first + longest // 2))
            start = begin + last - longest // 2
    return _Kept([*stretches, (start, end)])


def best_window(samples: np.ndarray, frames: Frames, seconds: float, sample_rate: int) -> float:
    """Choose the part of a recording that shows the voice best.

    Voiced speech counts most, other speech half; clipped frames and windows that begin or end within a word count
    against it, and so does noise. The same recording always gives the same part; of equals the first.

    Args:
        samples: (time,) float32.
        frames: their measures.
        seconds: how long the part is.
        sample_rate: hertz.

    Returns:
        Seconds at which the part begins.
    """
    length = round(seconds / HOP)
    starts = np.arange(max(1, len(samples) // round(HOP * sample_rate) - length + 1))
    clipped = np.zeros(len(frames.level) + 1)
    hits = (np.flatnonzero(clipped_samples(samples)) / sample_rate / HOP).astype(int)
    clipped[hits[hits < len(clipped)]] = 1
    worth = 0.5 * frames.speech + 0.5 * (frames.speech & (frames.pitch > 0)) - 2.0 * clipped[: len(frames.level)]
    total = np.concatenate(([0.0], np.cumsum(worth)))
    score = total[np.minimum(starts + length, len(worth))] - total[starts]
    windows = np.lib.stride_tricks.sliding_window_view(frames.level, min(length, len(frames.level)))[starts]
    quiet, loud = np.percentile(windows, [10, 90], axis=1)
    score += _WORTH_OF_DECIBEL * np.minimum(loud - quiet, 25.0)
    last = np.minimum(starts + length, len(worth)) - 1
    score -= _WORTH_OF_EDGE * (frames.speech[starts].astype(float) + frames.speech[last])
    return int(starts[score.argmax()]) * HOP


_WORTH_OF_DECIBEL, _WORTH_OF_EDGE = 2.0, 5.0  # in frames of voiced speech


def at_level(samples: np.ndarray, frames: Frames) -> tuple[np.ndarray, float]:
    """Bring speech to the loudness of the training data, without clipping.

    Returns:
        (time,) float32 and the gain in decibels, 0 where nothing was changed.
    """
    level = float(10 * np.log10(np.mean(10 ** (frames.level[frames.speech] / 10)))) if frames.speech.any() else LEVEL
    peak = float(np.abs(samples).max(initial=1e-9))
    room = 20 * np.log10(PEAK / peak)
    gain = LEVEL - level if abs(LEVEL - level) > LEVEL_RANGE else 0.0
    if gain > 0:
        gain = max(0.0, min(gain, room))
    if peak > 1:
        gain = min(gain, room)
    if gain == 0:
        return samples, 0.0
    return (samples * np.float32(10 ** (gain / 20))), float(gain)
