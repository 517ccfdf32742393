"""Detection of loops, silences and pauses."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from valle.evaluation.robustness import (
    MAX_LOOP_PERIOD,
    WINDOW_SECONDS,
    longest_audible_loop,
    longest_loop,
    longest_silence,
    pause_seconds,
)

RATE = 16_000
# A silence begins and ends within a window, so its measured duration can be off by two windows.
TOLERANCE = 2 * WINDOW_SECONDS + 0.001


@given(st.integers(1, MAX_LOOP_PERIOD), st.integers(2, 6), st.integers(0, 40))
def test_inserted_loop_is_found_with_its_length(period: int, times: int, before: int) -> None:
    unique = torch.arange(1000)
    loop = unique[500 : 500 + period].repeat(times)
    codes = torch.cat((unique[:before], loop, unique[900:930]))
    assert longest_loop(codes) == period * (times - 1)


def test_codes_without_repetition_have_no_loop() -> None:
    assert longest_loop(torch.arange(200)) == 0
    assert longest_loop(torch.arange(200)[:, None].expand(-1, 8)) == 0
    assert longest_loop(torch.tensor([4])) == 0


@given(st.floats(0.1, 2.0), st.floats(0.05, 1.0))
def test_inserted_silence_is_found_with_its_duration(silence: float, before: float) -> None:
    tone = 0.1 * np.sin(np.arange(RATE) * 0.3).astype(np.float32)
    samples = np.concatenate((tone[: round(before * RATE)], np.zeros(round(silence * RATE), np.float32), tone))
    assert abs(longest_silence(samples, RATE) - silence) <= TOLERANCE
    assert longest_silence(tone, RATE) == 0
    assert longest_silence(tone[:10], RATE) == 0


@given(st.floats(0.02, 1.0))
def test_silence_is_relative_to_the_level_of_speech(gain: float) -> None:
    tone = (0.5 * np.sin(np.arange(RATE) * 0.3)).astype(np.float32)
    samples = gain * np.concatenate((tone, tone[: RATE // 2] / 100, tone, tone[: RATE // 10] / 100, tone))
    assert abs(longest_silence(samples, RATE) - 0.5) <= TOLERANCE
    # The second gap, of 0.1 s, is too short to be a pause.
    assert abs(pause_seconds(samples, RATE) - 0.5) <= TOLERANCE
    # A recording below the absolute level is one silence.
    assert longest_silence(samples * 1e-4, RATE) == len(samples) // 320 * WINDOW_SECONDS


def test_pause_is_no_loop_and_loop_with_short_gaps_is_one() -> None:
    frame = 320
    tone = (0.5 * np.sin(np.arange(frame) * 0.3)).astype(np.float32)
    codes = torch.cat((torch.arange(50), torch.full((40,), 7), torch.arange(100, 150)))
    samples = np.concatenate((np.tile(tone, 50), np.zeros(40 * frame, np.float32), np.tile(tone, 50)))
    assert longest_loop(codes) == 39
    assert longest_audible_loop(codes, samples, RATE) == 0
    stutter = np.tile(np.concatenate((np.tile(tone, 3), np.zeros(2 * frame, np.float32))), 28)
    assert longest_audible_loop(torch.arange(5).repeat(28), stutter, RATE) == 135
