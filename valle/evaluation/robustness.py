"""Decoding errors of an autoregressive model that can be seen in codes and waveform: loops, silences, pauses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

# Frames; codes that repeat with a longer period may be a repeated word of the text.
MAX_LOOP_PERIOD = 25
# Seconds from which on a loop or a silence counts as an error.
MIN_LOOP_SECONDS = 0.5
MIN_SILENCE_SECONDS = 1.0
# A window is silent if its level is this many decibels below the loud windows, or below an absolute level.
SILENCE_BELOW_SPEECH = 30.0
SILENCE_DBFS = -60.0
WINDOW_SECONDS = 0.02
# A shorter silence is part of a word, such as the closure of a plosive.
MIN_PAUSE_SECONDS = 0.2


def longest_loop(codes: Tensor) -> int:
    """Find the longest stretch in which the first codebook repeats the codes of one period before.

    Args:
        codes: (time,) or (time, codebook).

    Returns:
        Its number of frames, without the first period; the period is any number of frames up to `MAX_LOOP_PERIOD`.
    """
    first = codes if codes.ndim == 1 else codes[:, 0]
    longest = 0
    for period in range(1, min(MAX_LOOP_PERIOD, len(first) - 1) + 1):
        longest = max(longest, _run_lengths((first[period:] == first[:-period]).numpy()).max(initial=0))
    return int(longest)


def longest_audible_loop(codes: Tensor, samples: np.ndarray, sample_rate: int) -> int:
    """Find the `longest_loop` outside pauses, whose codes repeat without being an error.

    Args:
        codes: (time,) or (time, codebook).
        samples: (time,) samples that the codes stand for.
        sample_rate: Of the samples.

    Returns:
        Its number of frames.
    """
    first = (codes if codes.ndim == 1 else codes[:, 0]).clone()
    in_pause = _drop_short_runs(_silent_windows(samples, sample_rate), round(MIN_PAUSE_SECONDS / WINDOW_SECONDS))
    if len(in_pause):
        frames = torch.arange(len(first))
        within = torch.from_numpy(in_pause)[(frames * len(in_pause) // max(1, len(first)))]
        # Frames of a pause get codes that occur nowhere else, so that they are in no loop.
        first[within] = -1 - frames[within]
    return longest_loop(first)


def silence_seconds(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return the duration of each silence in (time,) samples, in seconds: before, between and after words."""
    return _run_lengths(_silent_windows(samples, sample_rate)) * WINDOW_SECONDS


def longest_silence(samples: np.ndarray, sample_rate: int) -> float:
    """Return the duration of the longest silence in (time,) samples, in seconds."""
    return float(silence_seconds(samples, sample_rate).max(initial=0.0))


def pause_seconds(samples: np.ndarray, sample_rate: int) -> float:
    """Return the total duration of the silences in (time,) samples that last `MIN_PAUSE_SECONDS` or more."""
    durations = silence_seconds(samples, sample_rate)
    return float(durations[durations >= MIN_PAUSE_SECONDS].sum())


def _silent_windows(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return whether each window of (time,) samples is silent: (windows,) bool."""
    size = round(WINDOW_SECONDS * sample_rate)
    frames = np.asarray(samples, np.float32)[: len(samples) // size * size].reshape(-1, size)
    level = 10 * np.log10(np.square(frames).mean(1) + 1e-12)
    if not len(level):
        return np.zeros(0, bool)
    return level < max(SILENCE_DBFS, np.percentile(level, 95) - SILENCE_BELOW_SPEECH)


def _run_bounds(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the start and the end of each run of True in (time,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return edges[::2], edges[1::2]


def _run_lengths(flags: np.ndarray) -> np.ndarray:
    """Return the length of each run of True in (time,) bool."""
    starts, ends = _run_bounds(flags)
    return ends - starts


def _drop_short_runs(flags: np.ndarray, min_length: int) -> np.ndarray:
    """Return (time,) bool without the runs of True that are shorter than `min_length`."""
    output = np.zeros_like(flags)
    for start, end in zip(*_run_bounds(flags), strict=True):
        output[start:end] = end - start >= min_length
    return output
