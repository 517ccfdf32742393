"""Reading, writing and resampling of audio files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import command, noise
from valle import audio
from valle.errors import UserError


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_formats_of_libsndfile_are_read_mono_and_resampled(tmp_path: Path, ending: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44_100) / 44_100)
    path = tmp_path / f"tone.{ending}"
    soundfile.write(path, np.stack((tone, tone), 1), 44_100)
    recording = audio.read(path, 16_000)
    assert recording.sample_rate == 16_000
    assert abs(recording.duration - 1.0) < 0.1
    spectrum = np.abs(np.fft.rfft(recording.samples[:16_000], 16_000))
    assert abs(int(spectrum.argmax()) - 440) <= 1


def test_resampling_does_not_alias() -> None:
    tone = np.sin(2 * np.pi * 15_000 * np.arange(96_000) / 96_000).astype(np.float32)
    # The abrupt ends of the tone are broadband.
    assert np.abs(audio.resample(tone, 96_000, 16_000)[200:-200]).max() < 1e-2


@pytest.mark.parametrize("ending", ["wav", "flac"])
def test_written_samples_are_read_back(tmp_path: Path, ending: str) -> None:
    samples = noise(0.5)
    audio.write(tmp_path / f"x.{ending}", samples, 16_000)
    np.testing.assert_allclose(audio.read(tmp_path / f"x.{ending}").samples, samples, atol=1e-4)


@pytest.mark.parametrize("name", ["page.mp3", "page.wav", "page.opus"])
@pytest.mark.parametrize(
    "page", ["<!DOCTYPE html>\n<title>Fehler</title>", "\ufeff<html>nicht gefunden: ä" + 600 * "ö", "404"]
)
def test_web_page_in_place_of_audio_is_refused_in_one_line(tmp_path: Path, name: str, page: str) -> None:
    (tmp_path / name).write_text(page, encoding="utf-8")
    (tmp_path / "list.txt").write_text(f"{name}|ann|Some words.\n", encoding="utf-8")
    done = command("valle-prepare", "list", tmp_path / "list.txt", tmp_path / "data", check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"valle-prepare: {tmp_path / name}: is a web page or text, not an audio file; download the recording itself"
    ]


@pytest.mark.parametrize("kind", sorted(soundfile.available_formats().keys() - {"RAW", "XI"}))
def test_no_audio_format_is_mistaken_for_text(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"x.{kind.lower()}"
    subtype = "PCM_16" if soundfile.check_format(kind, "PCM_16") else soundfile.default_subtype(kind)
    soundfile.write(path, np.zeros(48_000, np.float32), 48_000, format=kind, subtype=subtype)
    assert len(audio.read(path).samples) > 40_000


def test_unreadable_files_are_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("not a recording")
    audio.write(tmp_path / "short.wav", noise(0.1), 16_000)
    for name, reason in (
        ("none.wav", "no such file"),
        ("empty.wav", "is empty"),
        ("text.wav", "not an audio file"),
        ("", "directory"),
    ):
        with pytest.raises(UserError, match=reason):
            audio.read(tmp_path / name)
    with pytest.raises(UserError, match=r"at most 0\.05 s"):
        audio.read(tmp_path / "short.wav", max_duration=0.05)
    with pytest.raises(UserError, match="can only write"):
        audio.write(tmp_path / "x.xyz", noise(0.1), 16_000)
    assert not (tmp_path / "x.xyz").exists()
