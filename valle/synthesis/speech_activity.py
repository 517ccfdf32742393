"""Measures of a recording's frames: level, speech activity, pitch; what prompts are cut and checked by.

All of it is numpy: a prompt is cleaned on every machine, without a voice activity model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOP = 0.01  # seconds between frames
WINDOW = 0.04  # seconds of a frame: two periods of a low voice
BAND = (120.0, 7000.0)  # hertz: speech without rumble and mains hum
PITCH_RANGE = (65.0, 400.0)  # hertz
PITCH_BAND = 1000.0  # hertz: pitch is found below it
LOUD = 0.1  # seconds: the speech level is what the loudest frames of so long a time exceed; a click is shorter
# Decibels: a frame is speech when it is less than `RANGE` below the speech level and `ABOVE_FLOOR` over the noise
# floor; where that leaves less than `LEAST_RANGE`, the floor is speech itself.
RANGE, ABOVE_FLOOR, LEAST_RANGE = 30.0, 8.0, 12.0
SHORTEST, GAP = 0.06, 0.1  # seconds: shorter sounds are clicks; shorter gaps belong to a word
VOICED = 0.6  # periodicity (0 to 1) of a voiced frame


@dataclass(frozen=True)
class Frames:
    """A recording in frames of `WINDOW` seconds, one every `HOP` seconds.

    Attributes:
        level: (frames,) decibels relative to full scale, within `BAND`.
        speech: (frames,) bool, whether someone speaks.
        pitch: (frames,) hertz; 0 where a frame is not voiced.
    """

    level: np.ndarray
    speech: np.ndarray
    pitch: np.ndarray

    @property
    def seconds(self) -> float:
        """Duration of all speech frames."""
        return float(self.speech.sum()) * HOP

    @property
    def voiced_seconds(self) -> float:
        """Duration of all voiced speech frames."""
        return float((self.speech & (self.pitch > 0)).sum()) * HOP


def analyze(samples: np.ndarray, sample_rate: int) -> Frames:
    """Measure (time,) samples.

    Args:
        samples: (time,) float32.
        sample_rate: hertz.
    """
    hop = round(HOP * sample_rate)
    window = round(WINDOW * sample_rate)
    padded = np.pad(samples, (window // 2, window))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: -(-len(samples) // hop)]
    size = 1 << (2 * window - 1).bit_length()
    shape = np.hanning(window).astype(np.float32)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    band = (frequencies >= BAND[0]) & (frequencies <= BAND[1])
    levels = []
    pitches = []
    for start in range(0, len(frames), 1000):
        power = np.abs(np.fft.rfft(frames[start : start + 1000] * shape, size)) ** 2
        levels.append(10 * np.log10(2 * power[:, band].sum(1) / (size * (shape**2).sum()) + 1e-14))
        pitches.append(_pitch(power * (frequencies < PITCH_BAND), shape, size, sample_rate))
    level = np.concatenate(levels)
    return Frames(level, speech_frames(level), np.concatenate(pitches))


def _pitch(power: np.ndarray, shape: np.ndarray, size: int, sample_rate: int) -> np.ndarray:
    """Pitch by the highest peak of the autocorrelation, relative to that of the window (Boersma 1993)."""
    correlation = np.fft.irfft(power, size)
    window = np.fft.irfft(np.abs(np.fft.rfft(shape, size)) ** 2, size)
    first, last = (round(sample_rate / hertz) for hertz in reversed(PITCH_RANGE))
    lags = np.arange(first, last + 1)
    energy = correlation[:, :1] + 1e-12
    periodic = correlation[:, lags] / energy / (window[lags] / window[0])
    # A period's double is as periodic: of nearly equal peaks the shortest lag is the pitch.
    inner = periodic[:, 1:-1]
    peaks = (inner >= periodic[:, :-2]) & (inner >= periodic[:, 2:])
    best = np.where(peaks, inner, 0).max(1, initial=0.0)
    near = peaks & (inner >= 0.9 * best[:, None])
    lag = lags[1:-1][near.argmax(1)]
    return np.where(best >= VOICED, sample_rate / lag, 0.0)


def speech_frames(level: np.ndarray) -> np.ndarray:
    """Adaptive energy gate: (frames,) decibels -> (frames,) bool, clicks left out and short gaps closed."""
    if len(level) == 0:
        return np.zeros(0, bool)
    top = np.sort(level)[-min(len(level), round(LOUD / HOP))]
    floor = np.percentile(level, 10)
    active = level > max(top - RANGE, min(floor + ABOVE_FLOOR, top - LEAST_RANGE))
    active = _without_short_runs(active, SHORTEST)
    return ~_without_short_runs(~active, GAP, inner=True)


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, end) of each run of True: (frames,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(start), int(end)) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _without_short_runs(flags: np.ndarray, seconds: float, inner: bool = False) -> np.ndarray:
    """Flags without the runs of True that are shorter than `seconds`; inner: those at an end stay."""
    flags = flags.copy()
    for start, end in runs(flags):
        at_an_end = start == 0 or end == len(flags)
        if end - start < round(seconds / HOP) and not (inner and at_an_end):
            flags[start:end] = False
    return flags
