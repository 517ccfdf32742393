"""Detect problems of a voice prompt: clipping, noise, music.

The measures are simple, and their limits are set so that clean recordings are not reported.
"""

from __future__ import annotations

import numpy as np

from valle.synthesis.speech_activity import Frames, runs

# Maximum share of clipped samples.
MAX_CLIPPED = 0.0005
# Minimum ratio of speech to noise in decibels, as `signal_to_noise` estimates it: for white noise at 10 dB the
# estimates are 11 to 13.4.
MIN_SNR = 13.5
# Maximum share of the time with a steady tone.
MAX_TONAL = 0.3
# Window of the spectrum in which tones are searched, in seconds.
TONE_WINDOW = 0.128
# Seconds between windows.
TONE_HOP = 0.032
# Number of windows for which a tone must not change to be steady.
TONE_LENGTH = 12
# Frequencies of tones in hertz; mains hum is below them.
TONE_BAND = (200.0, 4000.0)
# Decibels of a tone above the mean of the spectrum around it.
TONE_HEIGHT = 8.0
# Bins on each side over which this mean is taken.
TONE_NEIGHBOURS = 12
# Tones this many decibels below the highest level are ignored.
TONE_RANGE = 50.0


def find_problems(samples: np.ndarray, frames: Frames, sample_rate: int) -> list[str]:
    """Describe what makes a recording a poor voice prompt.

    Args:
        samples: (time,) float32.
        frames: Measures of the samples.
        sample_rate: Sample rate in hertz.

    Returns:
        One message per problem.
    """
    problems = []
    clipped = float(clipped_samples(samples).mean())
    if clipped > MAX_CLIPPED:
        problems.append(f"is clipped ({100 * clipped:.1f} % of its samples); record it at a lower level")
    ratio = signal_to_noise(frames)
    if ratio < MIN_SNR:
        problems.append(f"the voice is only about {ratio:.0f} dB above the noise; record it in a quieter place")
    if tonal_share(samples, sample_rate) > MAX_TONAL:
        problems.append("there seems to be music or a steady tone with the voice; give a recording without it")
    return problems


def signal_to_noise(frames: Frames) -> float:
    """Estimate the ratio of speech to noise in decibels.

    The power of speech is that of the louder half of the frames between the first and the last speech frame; the power
    of noise is that of the quietest tenth.

    Args:
        frames: Measures of a recording.

    Returns:
        Decibels; 0 where there is no speech.
    """
    speech_indices = np.flatnonzero(frames.speech)
    if len(speech_indices) == 0:
        return 0.0
    power = np.sort(10 ** (frames.level[speech_indices[0] : speech_indices[-1] + 1] / 10))
    noise = float(power[: max(1, len(power) // 10)].mean()) + 1e-12
    return float(10 * np.log10(max(float(power[len(power) // 2 :].mean()) - noise, 1e-12) / noise))


def tonal_share(samples: np.ndarray, sample_rate: int) -> float:
    """Measure the share of the time with a steady tone: the pitch of a voice glides, notes of music do not.

    Args:
        samples: (time,) float32.
        sample_rate: Sample rate in hertz.

    Returns:
        Share of the windows, 0 to 1, in which a spectral peak remains in its bin for `TONE_LENGTH` windows.
    """
    size = round(TONE_WINDOW * sample_rate)
    if len(samples) <= size:
        return 0.0
    frames = np.lib.stride_tricks.sliding_window_view(samples, size)[:: round(TONE_HOP * sample_rate)]
    first, last = (round(hertz * TONE_WINDOW) for hertz in TONE_BAND)
    level = 10 * np.log10(np.abs(np.fft.rfft(frames * np.hanning(size)))[:, first:last] ** 2 + 1e-12)
    # Peaks of the spectrum that exceed the mean of their neighbourhood, which a cumulative sum gives for all bins.
    around = TONE_NEIGHBOURS
    total = np.cumsum(np.pad(level, ((0, 0), (around + 1, around)), mode="edge"), axis=1)
    mean = (total[:, 2 * around + 1 :] - total[:, : -2 * around - 1]) / (2 * around + 1)
    inner = level[:, 1:-1]
    peaks = (inner > level[:, :-2]) & (inner >= level[:, 2:]) & (inner > mean[:, 1:-1] + TONE_HEIGHT)
    peaks &= inner > level.max() - TONE_RANGE
    steady = np.zeros(len(peaks), bool)
    for frequency in range(peaks.shape[1]):
        for start, end in runs(peaks[:, frequency]):
            steady[start:end] |= end - start >= TONE_LENGTH
    return float(steady.mean())


def clipped_samples(samples: np.ndarray) -> np.ndarray:
    """Mark samples in runs of at least 3 at the highest or the lowest value of a recording.

    Args:
        samples: (time,) float32.

    Returns:
        (time,) bool.
    """
    flags = np.zeros(len(samples), bool)
    for peak in (samples.max(initial=0.0), samples.min(initial=0.0)):
        for start, end in runs(np.abs(samples - peak) <= 0.001 * abs(peak)) if peak else []:
            flags[start:end] |= end - start >= 3
    return flags
