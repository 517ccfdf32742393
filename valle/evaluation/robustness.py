"""What goes wrong when a codec language model loses its way: loops and silences."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LONGEST_PERIOD = 25  # frames; what repeats more slowly may be a repeated word
SILENCE = -50.0  # decibels under full scale
WINDOW = 0.02  # seconds


def longest_loop(codes: Tensor) -> int:
    """Frames of the longest stretch in which the first codebook says again what it said a period before.

    codes: (time,) or (time, codebook); the period is any number of frames up to `LONGEST_PERIOD`
    """
    first = codes if codes.ndim == 1 else codes[:, 0]
    longest = 0
    for period in range(1, min(LONGEST_PERIOD, len(first) - 1) + 1):
        longest = max(longest, _longest_run((first[period:] == first[:-period]).numpy()))
    return longest


def longest_silence(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds of the longest silence before, between or after words: (time,) samples."""
    size = round(WINDOW * sample_rate)
    frames = torch.from_numpy(np.asarray(samples, np.float32)).unfold(0, size, size) if len(samples) >= size else None
    if frames is None:
        return 0.0
    level = 10 * torch.log10(frames.square().mean(1) + 1e-12)
    return _longest_run((level < SILENCE).numpy()) * WINDOW


def _longest_run(flags: np.ndarray) -> int:
    """Length of the longest run of True: (time,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return int((edges[1::2] - edges[::2]).max(initial=0))
