"""Checks of a voice prompt: clipping, noise, music, several voices.

Every measure is simple, and its limit is set on recordings: `python benchmarks/prompts.py` prints how often each is
reported for clean speech, and how often for speech with the defect.
"""

from __future__ import annotations

import numpy as np

from valle.synthesis.speech_activity import Frames, runs

CLIPPED = 0.0005  # share of samples
SNR = 10.0  # decibels


def suspicions(samples: np.ndarray, frames: Frames, sample_rate: int) -> list[str]:
    """What will make a poor voice of (time,) samples, a sentence each."""
    found = []
    share = float(clipped_samples(samples).mean())
    if share > CLIPPED:
        found.append(f"is clipped ({100 * share:.1f} % of its samples); record it at a lower level")
    return found


def clipped_samples(samples: np.ndarray) -> np.ndarray:
    """(time,) bool: samples in runs of at least 3 at the recording's highest or lowest value."""
    flags = np.zeros(len(samples), bool)
    for peak in (samples.max(initial=0.0), samples.min(initial=0.0)):
        for start, end in runs(np.abs(samples - peak) <= 0.001 * abs(peak)) if peak else []:
            flags[start:end] |= end - start >= 3
    return flags
