"""The mark in synthesized speech: heard by its detector, not by a listener."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from pesq import pesq

import valle
from tests.conftest import command
from valle import audio
from valle.synthesis.watermark import confidence, mark


@pytest.fixture(scope="module")
def sound(speech: Path) -> valle.Audio:
    return audio.read(speech, 16_000)


@pytest.fixture(scope="module")
def marked(sound: valle.Audio) -> np.ndarray:
    return mark(sound.samples, 16_000)


def test_the_mark_is_found_and_cannot_be_heard(sound: valle.Audio, marked: np.ndarray) -> None:
    assert confidence(sound.samples, 16_000) < 0.1
    assert confidence(marked, 16_000) > 0.9
    assert marked.shape == sound.samples.shape
    assert pesq(16_000, sound.samples, marked, "wb") > 3.8  # 4.64 is no difference; people's voices have 4.4


@pytest.mark.parametrize("harm", ["quieter", "telephone", "mp3", "beginning cut", "24 kHz"])
def test_the_mark_outlives(harm: str, marked: np.ndarray) -> None:
    samples, rate = marked, 16_000
    if harm == "quieter":
        samples = 0.3 * marked
    elif harm == "telephone":
        samples = audio.resample(audio.resample(marked, 16_000, 8_000), 8_000, 16_000)
    elif harm == "mp3":
        buffer = io.BytesIO(audio.mp3(valle.Audio(marked, 16_000)))
        samples, rate = soundfile.read(buffer, dtype="float32")
    elif harm == "beginning cut":
        samples = marked[7_001:]
    else:
        samples, rate = audio.resample(marked, 16_000, 24_000), 24_000
    assert confidence(samples, rate) > 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20_000), st.sampled_from([8_000, 16_000, 24_000, 44_100]), st.floats(0, 1))
def test_sound_of_any_length_and_rate_stays_as_long_and_finite(length: int, rate: int, loudness: float) -> None:
    samples = np.random.default_rng(length).uniform(-loudness, loudness, length).astype(np.float32)
    found = mark(samples, rate)
    assert found.shape == samples.shape
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert 0 <= confidence(found, rate) <= 1


def test_silence_stays_silent() -> None:
    silence = np.zeros(16_000, dtype=np.float32)
    assert not mark(silence, 16_000).any()
    assert confidence(silence, 16_000) == 0


def test_speech_is_marked_unless_told_not_to(speech: Path, tmp_path: Path) -> None:
    for name, options in (("with", []), ("without", ["--no-watermark"])):
        command("valle-synth", "--model", "small", "--prompt", speech, "--text", "The baker sold a loaf.", *options,
                "-o", tmp_path / f"{name}.wav")  # fmt: skip
    found = command("valle-eval", "watermark", tmp_path / "with.wav", tmp_path / "without.wav", speech).stdout
    assert [line.split(": ")[1].split(" (")[0] for line in found.splitlines()] == ["synthesized", "no mark", "no mark"]
    gone = command("valle-eval", "watermark", tmp_path / "with.wav", tmp_path / "gone.wav", check=False)
    assert gone.returncode == 2
    assert "gone.wav" in gone.stderr
    assert not gone.stdout
