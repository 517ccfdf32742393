"""Checks of a voice prompt: clipping, noise, music.

Every measure is simple; limits are set so that clean recordings are not reported.
"""

from __future__ import annotations

import numpy as np

from valle.synthesis.speech_activity import Frames, runs

CLIPPED = 0.0005  # share of samples
# Decibels, as `signal_to_noise` estimates them: white noise at 10 dB is estimated at 11 to 13.4.
SNR = 13.5
TONES = 0.3  # share of the time in which a tone does not change
TONE_WINDOW, TONE_HOP, TONE_LENGTH = 0.128, 0.032, 12  # seconds, seconds, hops: how long a tone does not change
TONE_BAND = (200.0, 4000.0)  # hertz: without mains hum
TONE_HEIGHT = 8.0  # decibels over the mean of the spectrum around it


def suspicions(samples: np.ndarray, frames: Frames, sample_rate: int) -> list[str]:
    """What will make a poor voice of (time,) samples, a sentence each."""
    found = []
    share = float(clipped_samples(samples).mean())
    if share > CLIPPED:
        found.append(f"is clipped ({100 * share:.1f} % of its samples); record it at a lower level")
    ratio = signal_to_noise(frames)
    if ratio < SNR:
        found.append(f"the voice is only about {ratio:.0f} dB above the noise; record it in a quieter place")
    if tonal_share(samples, sample_rate) > TONES:
        found.append("there seems to be music or a steady tone with the voice; give a recording without it")
    return found


def signal_to_noise(frames: Frames) -> float:
    """Estimate decibels from the louder half of the frames and the quietest tenth, between the ends of the speech."""
    spoken = np.flatnonzero(frames.speech)
    if len(spoken) == 0:
        return 0.0
    power = np.sort(10 ** (frames.level[spoken[0] : spoken[-1] + 1] / 10))
    noise = float(power[: max(1, len(power) // 10)].mean()) + 1e-12
    return float(10 * np.log10(max(float(power[len(power) // 2 :].mean()) - noise, 1e-12) / noise))


def tonal_share(samples: np.ndarray, sample_rate: int) -> float:
    """Share of the time in which some tone stays the same: a voice glides, notes of music do not.

    Args:
        samples: (time,) float32.
        sample_rate: hertz.
    """
    size = round(TONE_WINDOW * sample_rate)
    if len(samples) <= size:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: round(TONE_HOP * sample_rate)]
    first, last = (round(hertz * TONE_WINDOW) for hertz in TONE_BAND)
    level = 10 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(size)))[:, first:last] ** 2 + 1e-12)
    around = 12
    total = np.cumsum(np.pad(level, ((0, 0), (around + 1, around)), mode="edge"), axis=1)
    mean = (total[:, 2 * around + 1 :] - total[:, : -2 * around - 1]) / (2 * around + 1)
    inner = level[:, 1:-1]
    peaks = (inner > level[:, :-2]) & (inner >= level[:, 2:]) & (inner > mean[:, 1:-1] + TONE_HEIGHT)
    peaks &= inner > level.max() - 50
    steady = np.zeros(len(peaks), bool)
    for frequency in range(peaks.shape[1]):
        for start, end in runs(peaks[:, frequency]):
            steady[start:end] |= end - start >= TONE_LENGTH
    return float(steady.mean())


def clipped_samples(samples: np.ndarray) -> np.ndarray:
    """(time,) bool: samples in runs of at least 3 at the recording's highest or lowest value."""
    flags = np.zeros(len(samples), bool)
    for peak in (samples.max(initial=0.0), samples.min(initial=0.0)):
        for start, end in runs(np.abs(samples - peak) <= 0.001 * abs(peak)) if peak else []:
            flags[start:end] |= end - start >= 3
    return flags
