"""Voice prompts: read a recording, correct it, and select the segment that represents the voice.

Recordings of users have silence around the speech, low levels and direct current offsets. What can be corrected is
corrected, with a line in the log `valle` for each correction; other problems are reported by a `PromptWarning`, or by a
UserError where the recording cannot be used. docs/prompts.md describes this for users.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from torch import Tensor

from valle import audio
from valle.audio import Audio
from valle.errors import UserError, warn_user
from valle.synthesis.prompt_checks import clipped_samples, find_problems
from valle.synthesis.speech_activity import HOP, Frames, analyze, runs

# Minimum seconds of speech in a prompt.
MIN_PROMPT = 0.5
# Maximum seconds of a prompt with text.
MAX_PROMPT = 30.0
# Seconds that are used of a prompt without text.
VOICE_PROMPT = 3.0
# Maximum seconds of a recording in which the best segment is searched.
MAX_RECORDING = 300.0
# Level below which a recording is silent, in decibels relative to full scale.
SILENCE = -60.0
# Minimum seconds of voiced speech in a prompt: noise has none.
MIN_VOICED = 0.1
# Seconds of silence that remain before the speech.
SILENCE_BEFORE = 0.1
# Seconds of silence that remain after the speech.
SILENCE_AFTER = 0.15
# Seconds to which longer pauses are shortened in a prompt without text.
MAX_PAUSE = 0.4
# Seconds of silence from which on its removal is logged.
MIN_LOGGED_CUT = 0.1
# Direct current offset relative to the root mean square below which it is noise.
MIN_OFFSET = 0.05
# Target level of speech frames, in decibels relative to full scale: the median of LibriSpeech, which is most of the
# training data of the bundled model; 90 % of its recordings are within about 7 dB.
LEVEL = -23.0
# Speech within this many decibels of `LEVEL` is not changed.
LEVEL_RANGE = 4.0
# Maximum sample value after amplification, relative to full scale.
MAX_PEAK = 0.95
# Worth of a decibel between speech and noise, in frames of voiced speech, when the best segment is selected.
_DECIBEL_WEIGHT = 2.0
# Largest difference of speech and noise that counts, in decibels.
_MAX_DIFFERENCE = 25.0
# Cost of a segment boundary within speech, in frames of voiced speech.
_BOUNDARY_COST = 5.0

logger = logging.getLogger("valle")


class PromptWarning(UserWarning):
    """A prompt that will give a poor voice: noise, clipping, music, or a text that does not match the recording."""


PromptMode = Literal["transcribed", "untranscribed", "continuation"]


@dataclass(frozen=True)
class Prompt:
    """A voice prompt as the input of the models.

    Attributes:
        codes: (time, codebook) codes of the recording.
        symbols: Text units of its transcript; empty where it is not transcribed.
        mode: "transcribed", a prefix whose text precedes the target text (VALL-E, section 4.3); "untranscribed",
            which conditions on the voice alone; or "continuation", a prefix with whose words the target text begins
            (VALL-E-continual).
        language: espeak-ng language tag of the recording; None: the language of the text that is synthesized.
    """

    codes: Tensor
    symbols: tuple[str, ...] = ()
    mode: PromptMode = "untranscribed"
    language: str | None = None


def read_prompt(recording: str | Path, sample_rate: int, *, with_text: bool) -> Audio:
    """Read a recording and correct it: offset, silence around the speech, loudness.

    Args:
        recording: Any file that `valle.audio.read` reads.
        sample_rate: Sample rate of the result, in hertz.
        with_text: Whether the prompt has a text, so that all of its speech must remain. Otherwise long pauses are
            shortened and the best `VOICE_PROMPT` seconds are selected.

    Returns:
        The speech, with at most `SILENCE_BEFORE` and `SILENCE_AFTER` seconds of silence around it.

    Raises:
        UserError: The file is not a recording, is too long, is silent, or has less than `MIN_PROMPT` s of speech.

    Warns:
        PromptWarning: For each problem that `valle.synthesis.prompt_checks` detects.
    """
    waveform = _read(recording, sample_rate, MAX_PROMPT if with_text else MAX_RECORDING)
    samples, changes = _remove_offset(waveform.samples)
    frames = analyze(samples, sample_rate)
    if frames.level.max() < SILENCE:
        raise UserError(f"{recording}: is silent; give a recording of a voice")
    segments = trim_silence(frames) if with_text else _shorten_pauses(frames)
    frames = segments.select_frames(frames)
    _require_speech(recording, frames)
    changes += segments.describe(waveform.duration)
    samples = segments.select_samples(samples, sample_rate)
    if not with_text and len(samples) > round(VOICE_PROMPT * sample_rate):
        start = best_window(samples, frames, VOICE_PROMPT, sample_rate)
        duration = len(samples) / sample_rate
        changes.append(f"{VOICE_PROMPT:g} s of {duration:.1f} s of speech are used, from {start:.1f} s")
        samples = samples[round(start * sample_rate) :][: round(VOICE_PROMPT * sample_rate)]
        frames = analyze(samples, sample_rate)
    # `frames` describes the samples before the level is changed.
    problems = find_problems(samples, frames, sample_rate)
    samples, gain = normalize_level(samples, frames)
    if gain:
        changes.append(f"{gain:+.0f} dB, to the loudness of the training data")
    for line in changes:
        logger.info("%s: %s", recording, line)
    for line in problems:
        warn_user(f"{recording}: {line}", PromptWarning)
    return Audio(samples, sample_rate)


def read_prefix(recording: str | Path, sample_rate: int) -> Audio:
    """Read a recording that the target continues: only a direct current offset is removed.

    The generated speech starts where the recording ends and is scored together with it, so timing and loudness are part
    of the task; the protocol of the papers prescribes the number of seconds.

    Args:
        recording: Any file that `valle.audio.read` reads.
        sample_rate: Sample rate of the result, in hertz.

    Returns:
        The recording, with its timing and loudness unchanged.

    Raises:
        UserError: The file is not a recording, is too short, too long or silent.
    """
    waveform = _read(recording, sample_rate, MAX_PROMPT)
    if audio.loudness(waveform.samples) < SILENCE:
        raise UserError(f"{recording}: is silent; give a recording of a voice")
    samples, _ = _remove_offset(waveform.samples)
    return Audio(samples, sample_rate)


def _read(recording: str | Path, sample_rate: int, max_duration: float) -> Audio:
    """Read a recording of `MIN_PROMPT` to `max_duration` seconds."""
    waveform = audio.read(recording, sample_rate, max_duration=max_duration)
    if waveform.duration < MIN_PROMPT:
        raise UserError(f"{recording}: lasts {waveform.duration:.3f} s; a prompt needs {MIN_PROMPT} s, better 3 s")
    return waveform


def _remove_offset(samples: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Subtract the mean of (time,) samples where it is not negligible; also return lines for the log."""
    mean = float(np.mean(samples, dtype=np.float64))
    if abs(mean) <= MIN_OFFSET * float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))):
        return samples, []
    return (samples - np.float32(mean)), [f"direct current offset of {mean:+.3f} removed"]


def _require_speech(recording: str | Path, frames: Frames) -> None:
    """Raise a UserError where a recording has too little speech, or noise instead of a voice."""
    speech_indices = np.flatnonzero(frames.speech)
    seconds = float(np.ptp(speech_indices) + 1) * HOP if len(speech_indices) else 0.0
    # A recording of exactly the minimum can lose a frame at each end.
    if seconds < MIN_PROMPT - 2 * HOP:
        raise UserError(f"{recording}: holds {seconds:.2f} s of speech; a prompt needs {MIN_PROMPT} s, better 3 s")
    if frames.voiced_seconds < MIN_VOICED:
        raise UserError(f"{recording}: holds noise, no voice; give a recording of someone speaking")


@dataclass(frozen=True)
class Segments:
    """Segments of a recording that are used.

    Attributes:
        bounds: (start, end) of each segment, in frames of `HOP` seconds, in order.
    """

    bounds: list[tuple[int, int]]

    def select_frames(self, frames: Frames) -> Frames:
        """Return the frames of the segments."""

        def join(values: np.ndarray) -> np.ndarray:
            return np.concatenate([values[start:end] for start, end in self.bounds])

        return Frames(join(frames.level), join(frames.speech), join(frames.pitch))

    def select_samples(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """Return the samples of the segments: (time,) -> (time,)."""
        hop = round(HOP * sample_rate)
        return np.concatenate([samples[start * hop : end * hop] for start, end in self.bounds])

    def describe(self, duration: float) -> list[str]:
        """Describe what is cut from a recording of `duration` seconds, as lines for the log."""
        before = self.bounds[0][0] * HOP
        after = duration - self.bounds[-1][1] * HOP
        within = duration - before - after - sum(end - start for start, end in self.bounds) * HOP
        lines = []
        if before >= MIN_LOGGED_CUT or after >= MIN_LOGGED_CUT:
            lines.append(f"silence trimmed: {before:.1f} s before the speech, {max(0.0, after):.1f} s after it")
        if within >= MIN_LOGGED_CUT:
            lines.append(f"{within:.1f} s cut from long pauses")
        return lines


def trim_silence(frames: Frames) -> Segments:
    """Select the frames from the first speech frame to the last, with a little silence around them."""
    speech_indices = np.flatnonzero(frames.speech)
    if len(speech_indices) == 0:
        return Segments([(0, 0)])
    start = int(speech_indices[0]) - round(SILENCE_BEFORE / HOP)
    end = int(speech_indices[-1]) + 1 + round(SILENCE_AFTER / HOP)
    return Segments([(max(0, start), min(len(frames.speech), end))])


def _shorten_pauses(frames: Frames) -> Segments:
    """Trim silence as `trim_silence` does, and leave out the middle of each long pause."""
    ((speech_start, speech_end),) = trim_silence(frames).bounds
    max_length = round(MAX_PAUSE / HOP)
    bounds = []
    start = speech_start
    for first, last in runs(~frames.speech[speech_start:speech_end]):
        if last - first > max_length:
            bounds.append((start, speech_start + first + max_length // 2))
            start = speech_start + last - max_length // 2
    return Segments([*bounds, (start, speech_end)])


def best_window(samples: np.ndarray, frames: Frames, seconds: float, sample_rate: int) -> float:
    """Select the segment of a recording that represents the voice best.

    The score of a segment counts its speech frames, voiced ones twice as much as others; it is lowered by clipped
    frames, by noise, and by boundaries within a word. The selection is deterministic; the first of equal segments wins.

    Args:
        samples: (time,) float32.
        frames: Measures of the samples.
        seconds: Duration of the segment.
        sample_rate: Sample rate in hertz.

    Returns:
        Start of the segment in seconds.
    """
    length = round(seconds / HOP)
    num_starts = max(1, len(samples) // round(HOP * sample_rate) - length + 1)
    starts = np.arange(num_starts)
    num_frames = len(frames.level)
    clipped = np.zeros(num_frames + 1)
    clipped_frames = (np.flatnonzero(clipped_samples(samples)) / sample_rate / HOP).astype(int)
    clipped[clipped_frames[clipped_frames < len(clipped)]] = 1
    frame_scores = 0.5 * frames.speech + 0.5 * (frames.speech & (frames.pitch > 0)) - 2.0 * clipped[:num_frames]
    # Differences of the cumulative sum give the sums of all windows at once.
    total = np.concatenate(([0.0], np.cumsum(frame_scores)))
    score = total[np.minimum(starts + length, num_frames)] - total[starts]
    # The difference of the loud and the quiet frames of a window estimates its ratio of speech to noise.
    windows = np.lib.stride_tricks.sliding_window_view(frames.level, min(length, num_frames))[starts]
    quiet, loud = np.percentile(windows, [10, 90], axis=1)
    score += _DECIBEL_WEIGHT * np.minimum(loud - quiet, _MAX_DIFFERENCE)
    last = np.minimum(starts + length, num_frames) - 1
    score -= _BOUNDARY_COST * (frames.speech[starts].astype(float) + frames.speech[last])
    return int(starts[score.argmax()]) * HOP


def normalize_level(samples: np.ndarray, frames: Frames) -> tuple[np.ndarray, float]:
    """Bring speech to the level of the training data, without clipping.

    Args:
        samples: (time,) float32.
        frames: Measures of the samples.

    Returns:
        (time,) float32 samples and the gain in decibels, which is 0 where nothing was changed.
    """
    level = float(10 * np.log10(np.mean(10 ** (frames.level[frames.speech] / 10)))) if frames.speech.any() else LEVEL
    peak = float(np.abs(samples).max(initial=1e-9))
    headroom = 20 * np.log10(MAX_PEAK / peak)
    gain = LEVEL - level if abs(LEVEL - level) > LEVEL_RANGE else 0.0
    if gain > 0:
        gain = max(0.0, min(gain, headroom))
    # Samples beyond full scale, as of floating-point files, are attenuated even at the right level.
    if peak > 1:
        gain = min(gain, headroom)
    if gain == 0:
        return samples, 0.0
    return (samples * np.float32(10 ** (gain / 20))), float(gain)
