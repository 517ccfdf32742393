"""The watermark in synthesized speech is detected reliably and is inaudible."""

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
def recording(speech: Path) -> valle.Audio:
    return audio.read(speech, 16_000)


@pytest.fixture(scope="module")
def marked(recording: valle.Audio) -> np.ndarray:
    return mark(recording.samples, 16_000)


def test_watermark_is_detected_and_inaudible(recording: valle.Audio, marked: np.ndarray) -> None:
    assert confidence(recording.samples, 16_000) < 0.1
    assert confidence(marked, 16_000) > 0.9
    assert marked.shape == recording.samples.shape
    # 4.64 is PESQ of identical recordings; marked recordings of human voices have 4.4.
    assert pesq(16_000, recording.samples, marked, "wb") > 3.8


@pytest.mark.parametrize("change", ["attenuated", "telephone", "mp3", "start removed", "24 kHz"])
def test_watermark_is_detected_after_changes(change: str, marked: np.ndarray) -> None:
    samples = marked
    rate = 16_000
    if change == "attenuated":
        samples = 0.3 * marked
    elif change == "telephone":
        samples = audio.resample(audio.resample(marked, 16_000, 8_000), 8_000, 16_000)
    elif change == "mp3":
        buffer = io.BytesIO(audio.mp3(valle.Audio(marked, 16_000)))
        samples, rate = soundfile.read(buffer, dtype="float32")
    elif change == "start removed":
        samples = marked[7_001:]
    else:
        rate = 24_000
        samples = audio.resample(marked, 16_000, rate)
    assert confidence(samples, rate) > 0.5


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 20_000), st.sampled_from([8_000, 16_000, 24_000, 44_100]), st.floats(0, 1))
def test_marked_audio_is_finite_and_of_the_same_length(length: int, rate: int, loudness: float) -> None:
    samples = np.random.default_rng(length).uniform(-loudness, loudness, length).astype(np.float32)
    marked = mark(samples, rate)
    assert marked.shape == samples.shape
    assert marked.dtype == np.float32
    assert np.isfinite(marked).all()
    assert 0 <= confidence(marked, rate) <= 1


def test_silence_is_not_marked() -> None:
    silence = np.zeros(16_000, dtype=np.float32)
    assert not mark(silence, 16_000).any()
    assert confidence(silence, 16_000) == 0


def test_command_marks_speech_unless_disabled(speech: Path, tmp_path: Path) -> None:
    for name, options in (("with", []), ("without", ["--no-watermark"])):
        command("valle-synth", "--model", "small", "--prompt", speech, "--text", "The baker sold a loaf.", *options,
                "-o", tmp_path / f"{name}.wav")  # fmt: skip
    output = command("valle-eval", "watermark", tmp_path / "with.wav", tmp_path / "without.wav", speech).stdout
    assert [line.split(": ")[1].split(" (")[0] for line in output.splitlines()] == ["synthesized", "no mark", "no mark"]
    result = command("valle-eval", "watermark", tmp_path / "with.wav", tmp_path / "missing.wav", check=False)
    assert result.returncode == 2
    assert "missing.wav" in result.stderr
    assert not result.stdout
