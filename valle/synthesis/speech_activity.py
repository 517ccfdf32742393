"""Measure level, speech activity and pitch of the frames of a recording.

Prompts are trimmed and checked by these measures. They need only numpy, no model of voice activity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Seconds between frames.
HOP = 0.01
# Duration of a frame in seconds: two periods of a low voice.
WINDOW = 0.04
# Frequencies of speech in hertz, without rumble and mains hum.
BAND = (120.0, 7000.0)
# Frequencies of pitch in hertz.
PITCH_RANGE = (65.0, 400.0)
# Upper limit, in hertz, of the frequencies in which pitch is searched.
PITCH_BAND = 1000.0
# The speech level is the level that the loudest frames exceed for this many seconds; clicks are shorter.
LOUD_SECONDS = 0.1
# Decibels below the speech level down to which a frame is speech.
SPEECH_RANGE = 30.0
# Decibels that a speech frame is above the noise floor.
ABOVE_FLOOR = 8.0
# Minimum range in decibels: where the noise floor leaves less, it is speech itself.
MIN_SPEECH_RANGE = 12.0
# Minimum seconds of speech; shorter runs are clicks.
MIN_SPEECH = 0.06
# Minimum seconds of a pause; shorter gaps belong to a word.
MIN_PAUSE = 0.1
# Minimum periodicity (0 to 1) of a voiced frame.
MIN_PERIODICITY = 0.6
# Number of frames that are transformed at once, which bounds memory.
FRAMES_PER_BLOCK = 1000


@dataclass(frozen=True)
class Frames:
    """Measures of a recording in frames of `WINDOW` seconds, one every `HOP` seconds.

    Attributes:
        level: (frames,) level within `BAND` in decibels relative to full scale.
        speech: (frames,) bool, whether the frame is speech.
        pitch: (frames,) pitch in hertz; 0 where a frame is not voiced.
    """

    level: np.ndarray
    speech: np.ndarray
    pitch: np.ndarray

    @property
    def seconds(self) -> float:
        """Duration of all speech frames in seconds."""
        return float(self.speech.sum()) * HOP

    @property
    def voiced_seconds(self) -> float:
        """Duration of all voiced speech frames in seconds."""
        return float((self.speech & (self.pitch > 0)).sum()) * HOP


def analyze(samples: np.ndarray, sample_rate: int) -> Frames:
    """Measure the frames of a recording.

    Args:
        samples: (time,) float32.
        sample_rate: Sample rate in hertz.

    Returns:
        One frame for each started hop of the samples.
    """
    hop = round(HOP * sample_rate)
    window = round(WINDOW * sample_rate)
    padded = np.pad(samples, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: -(-len(samples) // hop)]
    # Twice the window, so that the autocorrelation by FFT does not wrap around.
    size = 1 << (2 * window - 1).bit_length()
    shape = np.hanning(window).astype(np.float32)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    band = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    levels = []
    pitches = []
    for start in range(0, len(frames), FRAMES_PER_BLOCK):
        power = np.abs(np.fft.rfft(frames[start : start + FRAMES_PER_BLOCK] * shape, size)) ** 2
        levels.append(10 * np.log10(2 * power[:, band].sum(1) / (size * (shape**2).sum()) + 1e-14))
        pitches.append(_pitch(power * (frequencies < PITCH_BAND), shape, size, sample_rate))
    level = np.concatenate(levels)
    return Frames(level, speech_frames(level), np.concatenate(pitches))


def _pitch(power: np.ndarray, shape: np.ndarray, size: int, sample_rate: int) -> np.ndarray:
    """Estimate pitch by the highest peak of the autocorrelation, relative to that of the window (Boersma 1993)."""
    correlation = np.fft.irfft(power, size)
    window = np.fft.irfft(np.abs(np.fft.rfft(shape, size)) ** 2, size)
    first, last = (round(sample_rate / hertz) for hertz in reversed(PITCH_RANGE))
    lags = np.arange(first, last + 1)
    energy = correlation[:, :1] + 1e-12
    periodic = correlation[:, lags] / energy / (window[lags] / window[0])
    # Twice the period has nearly the same periodicity, so the pitch is the shortest lag of nearly equal peaks.
    inner = periodic[:, 1:-1]
    peaks = (inner >= periodic[:, :-2]) & (inner >= periodic[:, 2:])
    best = np.where(peaks, inner, 0).max(1, initial=0.0)
    near = peaks & (inner >= 0.9 * best[:, None])
    lag = lags[1:-1][near.argmax(1)]
    return np.where(best >= MIN_PERIODICITY, sample_rate / lag, 0.0)


def speech_frames(level: np.ndarray) -> np.ndarray:
    """Detect speech by an adaptive energy gate.

    Args:
        level: (frames,) decibels.

    Returns:
        (frames,) bool, without clicks and with short gaps closed.
    """
    if len(level) == 0:
        return np.zeros(0, bool)
    top = np.sort(level)[-min(len(level), round(LOUD_SECONDS / HOP))]
    floor = np.percentile(level, 10)
    active = level > max(top - SPEECH_RANGE, min(floor + ABOVE_FLOOR, top - MIN_SPEECH_RANGE))
    active = _remove_short_runs(active, MIN_SPEECH)
    return ~_remove_short_runs(~active, MIN_PAUSE, inner_only=True)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Find the runs of True.

    Args:
        flags: (frames,) bool.

    Returns:
        (start, end) of each run, in order.
    """
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _remove_short_runs(flags: np.ndarray, seconds: float, inner_only: bool = False) -> np.ndarray:
    """Set runs of True shorter than `seconds` to False; with `inner_only`, not those at either end."""
    flags = flags.copy()
    for start, end in runs(flags):
        at_an_end = start == 0 or end == len(flags)
        if end - start < round(seconds / HOP) and not (inner_only and at_an_end):
            flags[start:end] = False
    return flags
