"""Loops and silences are found where they were planted, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from valle.evaluation.robustness import LONGEST_PERIOD, longest_loop, longest_silence, pauses, spoken_loop


@given(st.integers(1, LONGEST_PERIOD), st.integers(2, 6), st.integers(0, 40))
def test_a_planted_loop_is_found_with_its_length(period: int, times: int, before: int) -> None:
    unique = torch.arange(1000)
    loop = unique[500 : 500 + period].repeat(times)
    codes = torch.cat((unique[:before], loop, unique[900:930]))
    assert longest_loop(codes) == period * (times - 1)


def test_speech_that_never_repeats_has_no_loop() -> None:
    assert longest_loop(torch.arange(200)) == 0
    assert longest_loop(torch.arange(200)[:, None].expand(-1, 8)) == 0
    assert longest_loop(torch.tensor([4])) == 0


@given(st.floats(0.1, 2.0), st.floats(0.05, 1.0))
def test_a_planted_silence_is_found_with_its_length(silence: float, before: float) -> None:
    rate = 16_000
    tone = 0.1 * np.sin(np.arange(rate) * 0.3).astype(np.float32)
    samples = np.concatenate((tone[: round(before * rate)], np.zeros(round(silence * rate), np.float32), tone))
    assert abs(longest_silence(samples, rate) - silence) <= 0.041
    assert longest_silence(tone, rate) == 0
    assert longest_silence(tone[:10], rate) == 0


@given(st.floats(0.02, 1.0))
def test_silence_is_what_is_far_below_the_speech_however_loud_that_is(gain: float) -> None:
    rate = 16_000
    tone = (0.5 * np.sin(np.arange(rate) * 0.3)).astype(np.float32)
    samples = gain * np.concatenate((tone, tone[: rate // 2] / 100, tone, tone[: rate // 10] / 100, tone))
    assert abs(longest_silence(samples, rate) - 0.5) <= 0.041
    assert abs(pauses(samples, rate) - 0.5) <= 0.041  # a gap of 0.1 s belongs to a word
    assert longest_silence(samples * 1e-4, rate) == len(samples) // 320 * 0.02  # nothing is heard at all


def test_a_pause_is_no_loop_and_a_loop_with_gaps_is_one() -> None:
    rate, frame = 16_000, 320
    tone = (0.5 * np.sin(np.arange(frame) * 0.3)).astype(np.float32)
    codes = torch.cat((torch.arange(50), torch.full((40,), 7), torch.arange(100, 150)))
    sound = np.concatenate((np.tile(tone, 50), np.zeros(40 * frame, np.float32), np.tile(tone, 50)))
    assert longest_loop(codes) == 39
    assert spoken_loop(codes, sound, rate) == 0
    stutter = np.tile(np.concatenate((np.tile(tone, 3), np.zeros(2 * frame, np.float32))), 28)
    assert spoken_loop(torch.arange(5).repeat(28), stutter, rate) == 135
