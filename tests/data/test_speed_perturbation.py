"""Speed perturbation of a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi
from valle.data.speed_perturbation import perturb_speed
from valle.data.utterance import AudioSegment, Utterance
from valle.errors import UserError


def test_each_factor_gives_a_speaker_with_recordings_of_another_length(corpus: Path, tmp_path: Path) -> None:
    command("valle-prepare", "speed", corpus / "test_seen", tmp_path / "more", "--factors", "0.8", "1.25")
    originals = kaldi.read(corpus / "test_seen")
    perturbed = {u.id: u for u in kaldi.with_durations(kaldi.read(tmp_path / "more"))}
    assert kaldi.validate(tmp_path / "more") == []
    assert {u.speaker for u in perturbed.values()} == {f"{u.speaker}x{f}" for u in originals for f in ("0.8", "1.25")}
    for original in originals:
        for factor in (0.8, 1.25):
            result = perturbed[f"{original.speaker}x{factor:g}-{original.id}"]
            assert result.text == original.text
            assert abs(audio.duration(result.path) - audio.duration(original.path) / factor) < 0.01
            assert original.phones is not None
            assert result.phones == tuple((phone, start / factor) for phone, start in original.phones)


def test_utt2uniq_maps_each_utterance_to_its_original(corpus: Path, tmp_path: Path) -> None:
    count = perturb_speed(corpus / "test_seen", tmp_path / "more", [0.9])
    lines = (tmp_path / "more" / "utt2uniq").read_text(encoding="utf-8").splitlines()
    ids = {u.id for u in kaldi.read(corpus / "test_seen")}
    assert len(lines) == count == len(ids)
    assert {line.split()[1] for line in lines} == ids
    assert kaldi.check(tmp_path / "more").problems == []


def test_segments_of_one_recording_become_recordings_without_their_prompts(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    audio.write(path, noise(2.0), 16_000)
    prompt = AudioSegment(path, 0.0, 1.0)
    segments = [
        Utterance(f"ann-{i}", path, "Some words.", "ann", start=float(i), end=i + 1.0, recording="long", prompt=prompt)
        for i in range(2)
    ]
    kaldi.write(tmp_path / "data", segments)
    perturb_speed(tmp_path / "data", tmp_path / "more", [2.0])
    assert kaldi.validate(tmp_path / "more") == []
    result = kaldi.read(tmp_path / "more")
    assert [u.id for u in result] == ["annx2-ann-0", "annx2-ann-1"]
    assert all(u.prompt is None and u.recording is None for u in result)
    assert all(abs(audio.duration(u.path) - 0.5) < 0.01 for u in result)


@pytest.mark.parametrize("factors", [[0.0], [-1.0], [30.0], [float("nan")], [1.1, 1.1]])
def test_factors_out_of_range_are_refused_before_anything_is_written(
    corpus: Path, tmp_path: Path, factors: list[float]
) -> None:
    with pytest.raises(UserError, match="--factors"):
        perturb_speed(corpus / "test_seen", tmp_path / "more", factors)
    assert not (tmp_path / "more").exists()
