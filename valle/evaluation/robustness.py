"""What goes wrong when a codec language model loses its way: loops, silences, ends that come too early."""

from __future__ import annotations

import numpy as np
from torch import Tensor

LONGEST_PERIOD = 25  # frames; what repeats more slowly may be a repeated word
LOOP = 0.5  # seconds; a loop that lasts so long is a fault
SILENCE = 1.0  # seconds; so is a silence
LEVEL = -50.0  # decibels under full scale; silence is below
WINDOW = 0.02  # seconds
PAUSE = 0.2  # seconds; a shorter gap belongs to a word


def longest_loop(codes: Tensor) -> int:
    """Frames of the longest stretch in which the first codebook says again what it said a period before.

    codes: (time,) or (time, codebook); the period is any number of frames up to `LONGEST_PERIOD`
    """
    first = codes if codes.ndim == 1 else codes[:, 0]
    longest = 0
    for period in range(1, min(LONGEST_PERIOD, len(first) - 1) + 1):
        longest = max(longest, _runs((first[period:] == first[:-period]).numpy()).max(initial=0))
    return int(longest)


def silences(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Seconds of each silence before, between and after words: (time,) samples."""
    size = round(WINDOW * sample_rate)
    frames = np.asarray(samples, np.float32)[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    return _runs(level < LEVEL) * WINDOW


def longest_silence(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds of the longest silence: (time,) samples."""
    return float(silences(samples, sample_rate).max(initial=0.0))


def pauses(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds of all silences that are longer than `PAUSE`: (time,) samples."""
    found = silences(samples, sample_rate)
    return float(found[found >= PAUSE].sum())


def _runs(flags: np.ndarray) -> np.ndarray:
    """Length of each run of True: (time,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return edges[1::2] - edges[::2]
