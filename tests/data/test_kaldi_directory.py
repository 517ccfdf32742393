"""Reading, writing, validating and repairing Kaldi data directories."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import noise
from valle import audio
from valle.data import kaldi
from valle.data.utterance import Utterance
from valle.errors import UserError


def test_written_directory_is_valid_and_reads_back(data_directory: Path) -> None:
    assert kaldi.validate(data_directory) == []
    utterances = kaldi.read(data_directory)
    assert [u.id for u in utterances] == ["ann-0", "ann-1", "bob-0", "bob-1", "cy-0", "cy-1"]
    assert utterances[0].duration == 0.3


def test_validate_lists_every_error_with_file_and_line(data_directory: Path) -> None:
    (data_directory / "text").write_text("ann-0 words\nann-0 again\nzed words\nbob-0\nbob-1 words\ncy-0 words\n")
    (data_directory / "wav.scp").write_text("ann-0 sox x |\nbob-0 nowhere.wav\nbob-1 wav\ncy-0 x.wav\ncy-1 y.wav\n")
    (data_directory / "utt2dur").write_text("ann-0 never\n")
    errors = "\n".join(kaldi.validate(data_directory))
    for error in (
        "text:2: 'ann-0' occurs a second time",
        "text:3: 'zed' has no line in utt2spk",
        "text:4: 'bob-0' is out of order",
        "text:4: 'bob-0' has no value",
        "wav.scp:1: 'ann-0' is a pipe",
        "wav.scp:2:",
        "utt2spk:6: 'cy-1' has no line in text",
    ):
        assert error in errors
    with pytest.raises(UserError, match="more"):
        kaldi.read(data_directory)


def test_fix_leaves_a_valid_directory(data_directory: Path) -> None:
    lines = (data_directory / "text").read_text().splitlines()
    (data_directory / "text").write_text("\n".join([*lines[::-1], "ghost words"]) + "\n")
    count, report = kaldi.fix(data_directory)
    assert count == 6
    assert report.errors
    assert kaldi.validate(data_directory) == []


def test_phones_are_written_and_read_back(data_directory: Path) -> None:
    phones = (("w", 0.05), ("ɜː", 0.1), ("", 0.2))
    utterances = [replace(u, phones=phones) if u.id == "bob-1" else u for u in kaldi.read(data_directory)]
    kaldi.write(data_directory, utterances)
    assert kaldi.validate(data_directory) == []
    assert kaldi.read(data_directory) == utterances
    with (data_directory / "phones.ctm").open("a") as file:
        file.write("cy-0 1 soon w\n")
    assert any("phones.ctm:4:" in error for error in kaldi.validate(data_directory))
    kaldi.fix(data_directory)
    assert kaldi.read(data_directory) == utterances


def test_segments_of_a_recording_are_written_and_read_back(tmp_path: Path) -> None:
    audio.write(tmp_path / "long.wav", noise(2.0), 16_000)
    segments = [Utterance(f"a-{i}", tmp_path / "long.wav", "w", "a", float(i), float(i + 1)) for i in range(2)]
    kaldi.write(tmp_path / "data", segments)
    assert kaldi.validate(tmp_path / "data") == []
    assert [(u.start, u.end) for u in kaldi.read(tmp_path / "data")] == [(0.0, 1.0), (1.0, 2.0)]


def test_split_holds_out_all_utterances_of_a_speaker(data_directory: Path) -> None:
    rest, held_out = kaldi.split(kaldi.read(data_directory), 1)
    assert {u.speaker for u in rest}.isdisjoint({u.speaker for u in held_out})
    assert (len(rest), len(held_out)) == (4, 2)
    with pytest.raises(UserError):
        kaldi.split(rest, 2)
