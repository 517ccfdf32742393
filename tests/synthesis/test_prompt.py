"""Corrections, warnings and errors of voice prompts."""

from __future__ import annotations

import io
import logging
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import valle
from tests.conftest import command, noise, train
from valle import audio
from valle.errors import UserError
from valle.extensions.phone_alignment import PAUSE
from valle.synthesis import TTS, PromptWarning
from valle.synthesis.prompt import LEVEL, LEVEL_RANGE, VOICE_PROMPT, read_prefix, read_prompt
from valle.synthesis.prompt_text import compare, compare_duration
from valle.synthesis.speech_activity import HOP, analyze
from valle.synthesis.voices import find_voice, voices

RATE = 16_000
TEXT = "The quick brown fox jumps over the lazy dog near the river bank."


@pytest.fixture(scope="session")
def tts() -> TTS:
    return valle.load("small")


def write(path: Path, samples: np.ndarray) -> Path:
    audio.write(path, samples.astype(np.float32), RATE)
    return path


def speech_level(samples: np.ndarray) -> float:
    frames = analyze(samples, RATE)
    return 10 * np.log10(np.mean(10 ** (frames.level[frames.speech] / 10)))


def test_silence_around_the_speech_is_trimmed(speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech).samples
    path = write(tmp_path / "late.wav", np.concatenate((np.zeros(4 * RATE), samples, np.zeros(2 * RATE))))
    alone, late = (read_prompt(p, RATE, with_text=True) for p in (speech, path))
    assert abs(alone.duration - late.duration) < 0.3
    assert len(read_prompt(path, RATE, with_text=False).samples) <= VOICE_PROMPT * RATE


@pytest.mark.parametrize("gain", [0.02, 1.0])
def test_prompt_has_the_level_of_the_training_data(speech: Path, tmp_path: Path, gain: float) -> None:
    path = write(tmp_path / "level.wav", audio.read(speech).samples * gain)
    samples = read_prompt(path, RATE, with_text=False).samples
    assert abs(speech_level(samples) - LEVEL) <= LEVEL_RANGE + 0.5
    assert np.abs(samples).max() <= 1


def test_selected_segment_has_no_noise_and_is_reproducible(speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech).samples
    path = write(tmp_path / "half.wav", np.concatenate((noise(3.0), samples)))
    first, second = (read_prompt(path, RATE, with_text=False).samples for _ in range(2))
    assert np.array_equal(first, second)
    assert (analyze(first, RATE).pitch > 0).sum() * HOP > 1.2


def test_offset_integer_range_and_inverted_channels_are_corrected(
    speech: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = audio.read(speech).samples
    expected = read_prompt(speech, RATE, with_text=True).samples
    soundfile.write(tmp_path / "integers.wav", samples * 32768, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "inverted.wav", np.stack((samples, -samples), 1), RATE)
    soundfile.write(tmp_path / "offset.wav", samples + np.float32(0.1), RATE, subtype="FLOAT")
    for name, line in (("integers", "full scale"), ("inverted", "cancel"), ("offset", "offset")):
        caplog.clear()
        with caplog.at_level(logging.INFO, "valle"):
            corrected = read_prompt(tmp_path / f"{name}.wav", RATE, with_text=True).samples
        assert any(line in record.message for record in caplog.records), name
        assert len(corrected) == len(expected)
        assert np.abs(corrected - expected).max() < 2e-3


@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_file_with_a_header_without_length_is_read_to_its_end(tmp_path: Path, kind: str) -> None:
    encoded = io.BytesIO()
    soundfile.write(encoded, noise(1.23), RATE, format=kind, subtype="PCM_16")
    data = bytearray(encoded.getvalue())
    if kind == "WAV":
        position = data.index(b"data")
        data[4:8] = data[position + 4 : position + 8] = bytes(4)
    else:
        data[21] &= 0xF0
        data[22:26] = bytes(4)
    path = tmp_path / f"streamed.{kind.lower()}"
    path.write_bytes(data)
    assert len(audio.read(path).samples) == round(1.23 * RATE)


@pytest.mark.parametrize(("kind", "message"), [("noise", "no voice"), ("short", "lasts"), ("little", "of speech")])
def test_recording_without_a_voice_is_refused(speech: Path, tmp_path: Path, kind: str, message: str) -> None:
    samples = audio.read(speech).samples[RATE : RATE + 2000]
    recordings = {"noise": noise(3.0), "short": noise(0.04), "little": np.pad(samples, (RATE, RATE))}
    path = write(tmp_path / f"{kind}.wav", recordings[kind])
    with pytest.raises(UserError, match=message):
        read_prompt(path, RATE, with_text=False)


def test_continuation_prompt_is_not_trimmed(speech: Path, tmp_path: Path) -> None:
    samples = np.concatenate((np.zeros(RATE), audio.read(speech).samples))
    assert len(read_prefix(write(tmp_path / "prefix.wav", samples), RATE).samples) == len(samples)


def test_clipped_recording_gives_a_warning(speech: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "clipped.wav", np.clip(20 * audio.read(speech).samples, -1, 1))
    with pytest.warns(PromptWarning, match="clipped"):
        read_prompt(path, RATE, with_text=False)


def test_noise_and_music_give_a_warning(speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech).samples
    rms = float(np.sqrt(np.mean(samples**2)))
    noisy = write(tmp_path / "noisy.wav", samples + noise(10.0)[: len(samples)] * 10 * rms * 0.5)
    with pytest.warns(PromptWarning, match="above the noise"):
        read_prompt(noisy, RATE, with_text=False)
    time = np.arange(len(samples)) / RATE
    chord = np.sum([np.sin(2 * np.pi * hertz * time) for hertz in (523, 659, 784)], axis=0)
    with pytest.warns(PromptWarning, match="music"):
        read_prompt(write(tmp_path / "music.wav", samples + chord * 0.5 * rms), RATE, with_text=False)


def test_wrong_text_gives_a_warning_and_the_correct_text_does_not(tts: TTS) -> None:
    voice = find_voice(voices()[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tts.prompt(voice.recording, voice.text)
        tts.voice()
    half = " ".join(voice.text.split()[:6])
    for text, message in ((half, "more than"), (f"{voice.text} {TEXT}", "less than")):
        with pytest.warns(PromptWarning, match=message):
            tts.prompt(voice.recording, text)
    with pytest.raises(UserError, match="prompt's text"):
        tts.prompt(voice.recording, "")


def test_surplus_and_missing_phones_are_distinguished() -> None:
    text = [1 + i % 30 for i in range(60)]
    encoded = np.repeat(text, 5)
    assert compare(encoded, text, 50) is None
    assert "more" in str(compare(encoded, text[:40], 50))
    assert "less" in str(compare(encoded[:200], text, 50))
    assert "less" in str(compare(np.full(5, PAUSE), text, 50))
    assert compare_duration(4.0, 50) is None
    assert "more" in str(compare_duration(29.0, 70))
    assert "less" in str(compare_duration(2.0, 100))


def test_default_voice_is_used_without_a_prompt(tmp_path: Path) -> None:
    output = tmp_path / "hello.wav"
    command("valle-synth", "--text", "Hello there.", "--attempts", "1", "-o", output)
    assert audio.duration(output) > 0
    result = command("valle-synth", "--text", "Hello.", "--voice", "nobody", "-o", output, check=False)
    assert result.returncode == 2
    assert voices()[0] in result.stderr


@pytest.fixture(scope="module")
def papers(tokens: Path, run_directory: Path, tmp_path_factory: pytest.TempPathFactory) -> TTS:
    """A model that was trained without untranscribed prompts, as the papers' are."""
    folder = tmp_path_factory.mktemp("papers")
    shutil.copytree(run_directory / "nar", folder / "nar")
    train("ARModule", tokens, folder / "ar", 1, "--model.untranscribed_prompt_prob=0")
    return valle.load(folder)


def test_model_without_untranscribed_prompts_warns_of_one(papers: TTS, tts: TTS, speech: Path) -> None:
    voice = papers.prompt(speech)
    with pytest.warns(PromptWarning, match="give the prompt's text") as caught:
        papers.synthesize("Good morning.", voice)
    assert caught[0].filename == __file__
    with pytest.warns(PromptWarning, match="give the prompt's text"):
        next(papers.stream("Good morning.", voice))
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        tts.synthesize("Good morning.", tts.prompt(speech))


def test_bundled_voice_is_transcribed_for_a_model_without_untranscribed_prompts(papers: TTS, tts: TTS) -> None:
    assert tts.voice().mode == "untranscribed"
    with warnings.catch_warnings():
        warnings.simplefilter("error", PromptWarning)
        papers.synthesize("Good morning.")
    assert papers.voice().mode == "transcribed"
