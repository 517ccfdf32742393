"""Forced alignment with pocketsphinx."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.conftest import command
from valle.data import kaldi
from valle.data.codec_datamodule import Clip
from valle.data.forced_alignment import Aligner
from valle.data.utterance import Utterance
from valle.synthesis.voices import find_voice


def test_alignment_agrees_with_the_true_times_of_phones(corpus: Path) -> None:
    utterances = [u for u in kaldi.read(corpus / "train") if u.phones][:12]
    aligner = Aligner()
    pairs = [(u, aligned) for u in utterances if (aligned := aligner.align(u)).phones]
    # Many utterances of espeak-ng cannot be aligned.
    assert pairs
    correct, by_chance = [], []
    for truth, aligned in ([Clip(u, 16_000) for u in pair] for pair in pairs):
        times = np.arange(0.05, len(truth.samples) / 16_000 - 0.1, 0.01)
        correct.append(np.mean(aligned.phones.classes_at(times) == truth.phones.classes_at(times)))
        by_chance.append(np.mean(aligned.phones.classes_at(times) == truth.phones.classes_at(times[::-1])))
    assert np.mean(correct) > 5 * np.mean(by_chance)


def test_only_recordings_that_match_their_transcripts_are_aligned(tmp_path: Path) -> None:
    voice = find_voice("clara")
    other = "Many years later the captain remembered that distant afternoon by the sea."
    matching = Utterance("a-1", voice.recording, voice.text, "a")
    kaldi.write(tmp_path / "data", [matching, replace(matching, id="a-2", text=other)])
    assert not (tmp_path / "data" / "phones.ctm").exists()
    assert "1 of 2 utterances" in command("valle-prepare", "align", tmp_path / "data").stdout
    assert [bool(u.phones) for u in kaldi.read(tmp_path / "data")] == [True, False]
    assert not kaldi.validate(tmp_path / "data")


def test_a_transcript_longer_than_its_recording_is_not_aligned(corpus: Path) -> None:
    u = kaldi.read(corpus / "train")[0]
    short = replace(u, end=0.3, text=f"{u.text} {u.text} {u.text}")
    assert Aligner().align(short).phones is None
