"""What goes wrong when a codec language model loses its way: loops, silences, ends that come too early."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

LONGEST_PERIOD = 25  # frames; what repeats more slowly may be a repeated word
LOOP = 0.5  # seconds; a loop that lasts so long is a fault
SILENCE = 1.0  # seconds; so is a silence
BELOW_SPEECH = 30.0  # decibels under the loud parts; silence is below that,
FLOOR = -60.0  # or below so many under full scale
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


def spoken_loop(codes: Tensor, samples: np.ndarray, sample_rate: int) -> int:
    """Frames of the `longest_loop` in which something is heard: a pause has one code again and again.

    codes: (time,) or (time, codebook) of (time,) samples
    """
    first = (codes if codes.ndim == 1 else codes[:, 0]).clone()
    silent = _long(_silent(samples, sample_rate), round(PAUSE / WINDOW))
    if len(silent):
        frames = torch.arange(len(first))
        within = torch.from_numpy(silent)[(frames * len(silent) // max(1, len(first)))]
        first[within] = -1 - frames[within]  # like nothing else
    return longest_loop(first)


def _silent(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Whether each window is silent: (time,) samples -> (windows,) bool."""
    size = round(WINDOW * sample_rate)
    frames = np.asarray(samples, np.float32)[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    return level < max(FLOOR, np.percentile(level, 95) - BELOW_SPEECH) if len(level) else np.zeros(0, bool)


def silences(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Seconds of each silence before, between and after words: (time,) samples."""
    return _runs(_silent(samples, sample_rate)) * WINDOW


def longest_silence(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds of the longest silence: (time,) samples."""
    return float(silences(samples, sample_rate).max(initial=0.0))


def pauses(samples: np.ndarray, sample_rate: int) -> float:
    """Seconds of all silences that are longer than `PAUSE`: (time,) samples."""
    found = silences(samples, sample_rate)
    return float(found[found >= PAUSE].sum())


def _edges(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each run of True begins, and where it has ended: (time,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return edges[::2], edges[1::2]


def _runs(flags: np.ndarray) -> np.ndarray:
    """Length of each run of True: (time,) bool."""
    begins, ends = _edges(flags)
    return ends - begins


def _long(flags: np.ndarray, least: int) -> np.ndarray:
    """(time,) bool without the runs of True that are shorter than `least`."""
    kept = np.zeros_like(flags)
    for begin, end in zip(*_edges(flags), strict=True):
        kept[begin:end] = end - begin >= least
    return kept
