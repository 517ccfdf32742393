import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from valle.time_stretch import stretch, stretch_chunks

RATE = 16_000


def tone(seconds: float, hertz: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * RATE / len(samples))


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.25, 2.0])
def test_duration_changes_and_pitch_does_not(speed: float) -> None:
    samples = tone(2.0, 220)
    result = stretch(samples, RATE, speed)
    assert len(result) == round(len(samples) / speed)
    assert pitch(result[RATE // 4 : -RATE // 4]) == pytest.approx(220, abs=6)


def test_a_click_stays_at_its_share_of_the_duration() -> None:
    samples = np.zeros(2 * RATE, np.float32)
    samples[RATE : RATE + 200] = np.random.default_rng(0).normal(0, 0.3, 200)
    for speed in (0.5, 1.5):
        position = np.abs(stretch(samples, RATE, speed)).argmax() / RATE
        assert position == pytest.approx(1 / speed, abs=0.06)


def test_speed_1_changes_nothing() -> None:
    samples = tone(0.5, 330)
    assert stretch(samples, RATE, 1.0) is samples


@given(st.lists(st.integers(0, 3000), min_size=1, max_size=12), st.floats(0.5, 2.0))
def test_chunks_joined_are_the_whole(sizes: list[int], speed: float) -> None:
    samples = np.random.default_rng(1).normal(0, 0.1, sum(sizes)).astype(np.float32)
    chunks = np.split(samples, np.cumsum(sizes)[:-1])
    assert np.array_equal(np.concatenate(list(stretch_chunks(chunks, RATE, speed))), stretch(samples, RATE, speed))
