"""Data directories of corpora and of lists of recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, command, noise
from valle import audio
from valle.data import kaldi

LIBRISPEECH = ROOT.parent / "shared" / "corpora" / "libri-clips"


@pytest.mark.skipif(not LIBRISPEECH.is_dir(), reason="no LibriSpeech in ../shared/corpora")
def test_librispeech_becomes_a_data_directory(tmp_path: Path) -> None:
    command("valle-prepare", "librispeech", LIBRISPEECH, tmp_path)
    assert len(kaldi.read(tmp_path / "train-clean-100")) == 251
    done = command("valle-prepare", "libritts", LIBRISPEECH, tmp_path / "no", check=False)
    assert done.returncode == 2
    assert not (tmp_path / "no").exists()


def test_ljspeech_becomes_a_data_directory(tmp_path: Path) -> None:
    lines = ["LJ001-0001|In 1455, Gutenberg|In fourteen fifty-five, Gutenberg", "LJ001-0002|printed.|printed."]
    for line in lines:
        audio.write(tmp_path / "LJSpeech-1.1" / "wavs" / f"{line[:10]}.wav", noise(1.0, 22_050), 22_050)
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text("\n".join(lines) + "\n")
    command("valle-prepare", "ljspeech", tmp_path / "LJSpeech-1.1", tmp_path / "data")
    result = kaldi.read(tmp_path / "data" / "all")
    assert [u.text for u in result] == ["In fourteen fifty-five, Gutenberg", "printed."]
    assert len({u.speaker for u in result}) == 1
    assert kaldi.validate(tmp_path / "data" / "all") == []


@pytest.mark.parametrize("version", ["0.80", "0.92"])
def test_vctk_becomes_a_data_directory(tmp_path: Path, version: str) -> None:
    corpus = tmp_path / "VCTK"
    for key in ("p225_001", "p225_002", "p226_001"):
        speaker = key[:4]
        name = f"wav48/{speaker}/{key}.wav"
        if version == "0.92":
            name = f"wav48_silence_trimmed/{speaker}/{key}_mic2.flac"
        audio.write(corpus / name, noise(1.0, 48_000), 48_000)
        (corpus / "txt" / speaker).mkdir(parents=True, exist_ok=True)
        (corpus / "txt" / speaker / f"{key}.txt").write_text("Please call Stella.\n")
    rows = ["ID  AGE  GENDER  ACCENTS  REGION", "225  23  F    English    Southern  England"]
    rows.append("226  22  M    English    Surrey")
    if version == "0.92":
        rows = [rows[0], *(f"p{row}" for row in rows[1:])]
    (corpus / "speaker-info.txt").write_text("\n".join(rows) + "\n")
    command("valle-prepare", "vctk", corpus, tmp_path / "data")
    result = kaldi.read(tmp_path / "data" / "all")
    assert [u.speaker for u in result] == ["p225", "p225", "p226"]
    assert kaldi.validate(tmp_path / "data" / "all") == []


def test_list_of_recordings_becomes_a_data_directory(speech: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        shutil.copy(speech, tmp_path / name)
    lines = tmp_path / "list.txt"
    lines.write_text("a.wav|Anna B.|Good morning.\n\nb.wav|  Good   evening. \nc.wav|Good night.\n")
    command("valle-prepare", "list", lines, tmp_path / "data")
    assert kaldi.validate(tmp_path / "data") == []
    result = [(u.id, u.speaker, u.text, u.path.name) for u in kaldi.read(tmp_path / "data")]
    assert result == [
        ("Anna_B_-a", "Anna_B_", "Good morning.", "a.wav"),
        ("speaker-b", "speaker", "Good evening.", "b.wav"),
        ("speaker-c", "speaker", "Good night.", "c.wav"),
    ]
    command("valle-prepare", "split", tmp_path / "data", tmp_path / "rest", tmp_path / "held", "--utterances", "1")
    rest, held = kaldi.read(tmp_path / "rest"), kaldi.read(tmp_path / "held")
    assert sorted(u.id for u in [*rest, *held]) == [key for key, *_ in result]
    assert len(held) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [("a.wav", "expected FILE|TEXT"), ("a.wav|", "expected FILE|TEXT"), ("no.wav|Hello.", "no.wav does not exist"),
     ("a.wav|Hello.\na.wav|Hello.", ":2: a.wav occurs twice"), ("", "is empty")],
)  # fmt: skip
def test_unusable_list_is_refused_in_one_line_and_nothing_is_written(
    speech: Path, tmp_path: Path, line: str, reason: str
) -> None:
    shutil.copy(speech, tmp_path / "a.wav")
    (tmp_path / "list.txt").write_text(line)
    done = command("valle-prepare", "list", tmp_path / "list.txt", tmp_path / "data", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (tmp_path / "data").exists()
