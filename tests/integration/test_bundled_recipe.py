"""Scripts of the recipe `bundled`: texts, synthesized voices, the test list, averaged weights."""

from __future__ import annotations

import csv
import itertools
import random
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT, command
from valle.data import kaldi
from valle.errors import UserError

LOCAL = ROOT / "egs" / "bundled" / "local"
sys.path.insert(0, str(LOCAL))

import short_phrases  # noqa: E402
from average import average  # noqa: E402
from engines import ENGINES, Speech  # noqa: E402
from punctuate import punctuate  # noqa: E402
from sentences import lines  # noqa: E402
from synthesize import (  # noqa: E402
    SAMPLE_RATE,
    WARP_RANGES,
    Speaker,
    make_speakers,
    postprocess,
    simulate_recording,
)


def test_lines_are_distinct_short_and_reproducible() -> None:
    made = lines(300, 1)
    assert made == lines(300, 1) != lines(300, 2)
    assert len(set(made)) == 300
    assert all(3 < len(line.split()) <= 32 and line[-1] in ".!?" for line in made)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.8, 1.3), st.lists(st.floats(0.05, 1.5), min_size=2, max_size=6), st.booleans(), st.integers(0, 99))
def test_phones_start_with_their_audio_after_warping_and_shortening_pauses(
    warp: float, lengths: list[float], in_a_room: bool, seed: int
) -> None:
    """Tones and pauses in turn: warped and with shorter pauses, each phone must still begin where its tone does."""
    rate, pieces, phones, at = 22_050, [], [], 0.0
    for index, seconds in enumerate(lengths):
        for phone, level, length in (("", 0.0, seconds), ("a", 0.5, 0.3)):
            phones.append((phone, at))
            pieces.append(level * np.sin(2 * np.pi * 200 * (index + 1) * np.arange(round(length * rate)) / rate))
            at += len(pieces[-1]) / rate
    phones.append(("", at))
    pieces.append(np.zeros(round(lengths[0] * rate)))
    speaker = Speaker("x", 0, warp, 1.0, seed if in_a_room else None)
    speech = Speech(np.concatenate(pieces).astype(np.float32), rate, phones)
    samples, result = postprocess(speech, speaker, random.Random(seed))
    times = [start for _, start in result]
    assert [phone for phone, _ in result] == [phone for phone, _ in phones]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(samples) / SAMPLE_RATE
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 1
    tones = [start for phone, start in result if phone]
    assert tones[0] < 0.2
    for begin, following in itertools.pairwise(tones):
        assert following - begin < 0.3 / warp + 0.5  # a pause between them is short now
    for begin in tones:
        inside = samples[int((begin + 0.05) * SAMPLE_RATE) : int((begin + 0.15) * SAMPLE_RATE)]
        assert np.sqrt(np.mean(inside**2)) > 0.3 * np.sqrt(np.mean(samples**2))


@pytest.mark.parametrize("engine", ENGINES)
def test_speakers_are_reproducible_and_cover_the_warp_range(engine: str) -> None:
    voices = make_speakers(engine, 20, 0)
    assert voices == make_speakers(engine, 20, 0)
    low, high = WARP_RANGES[engine]
    assert all(low <= v.warp <= high for v in voices)
    assert max(v.warp for v in voices) / min(v.warp for v in voices) > 0.8 * high / low
    assert {v.recording_seed is None for v in voices} == {True, False}


def test_a_simulated_recording_has_the_same_length() -> None:
    samples = np.random.default_rng(0).standard_normal(16_000)
    assert simulate_recording(samples, 3).shape == samples.shape
    assert not np.allclose(simulate_recording(samples, 3), simulate_recording(samples, 4))


@pytest.mark.parametrize("name", ENGINES)
def test_an_engine_returns_the_times_of_its_phones(name: str) -> None:
    try:
        engine = ENGINES[name]()
    except UserError as error:
        pytest.skip(str(error))
    speech = engine.synthesize("Sit down, please, and listen to me.", engine.voices(1)[0], 1.0)
    starts = [start for _, start in speech.phones]
    assert starts == sorted(starts)
    assert starts[-1] <= len(speech.samples) / speech.sample_rate + 0.05
    vowels = [(s, e) for (phone, s), e in zip(speech.phones, starts[1:], strict=False) if phone in ("aʊ", "iː")]
    assert len(vowels) == 3
    inside = [speech.samples[int(s * speech.sample_rate) : int(e * speech.sample_rate)] for s, e in vowels[:2]]
    assert np.mean([np.sqrt(np.mean(x**2)) for x in inside]) > np.sqrt(np.mean(speech.samples**2))


def test_test_list_has_untranscribed_prompts_and_references(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "lines.txt").write_text("".join(f"Sentence number {i}.\n" for i in range(60)))
    command("python", LOCAL / "test_list.py", tmp_path / "list.tsv", tmp_path / "lines.txt", "--lines", "2",
            "--people", corpus / "valid", "--voices", corpus / "test_unseen", tmp_path / "not there")  # fmt: skip
    with open(tmp_path / "list.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    people, voices = kaldi.read(corpus / "valid"), kaldi.read(corpus / "test_unseen")
    num_references = len(voices) - len({u.speaker for u in voices})
    assert len(rows) == 3 * len(people) + num_references
    assert sum(bool(row["reference"]) for row in rows) == len(people) + num_references
    assert all(row["prompt"] != row["reference"] for row in rows if row["id"].split("-")[-1] != "own")
    short = command("python", LOCAL / "test_list.py", tmp_path / "x.tsv", tmp_path / "lines.txt", "--lines", "99",
                    "--people", corpus / "valid", check=False)  # fmt: skip
    assert short.returncode == 2
    assert not (tmp_path / "x.tsv").exists()


def test_split_holds_out_listed_speakers(corpus: Path, tmp_path: Path) -> None:
    names = sorted({u.speaker for u in kaldi.read(corpus / "test_unseen")})
    (tmp_path / "names").write_text(f"{names[0]}\n")
    split = ["valle-prepare", "split", corpus / "test_unseen", tmp_path / "rest", tmp_path / "held", "--speaker-list"]
    command(*split, tmp_path / "names")
    assert {u.speaker for u in kaldi.read(tmp_path / "held")} == {names[0]}
    assert {u.speaker for u in kaldi.read(tmp_path / "rest")} == set(names[1:])
    (tmp_path / "names").write_text("nobody\n")
    wrong = command(*split, tmp_path / "names", check=False)
    assert wrong.returncode == 2
    assert "'nobody'" in wrong.stderr


def test_short_phrases_are_short_distinct_and_not_test_sentences() -> None:
    made = short_phrases.lines(700, 1)
    assert made == short_phrases.lines(700, 1) != short_phrases.lines(700, 2)
    assert len(set(made)) == 700
    assert all(1 <= len(line.split()) <= 5 and line[-1] in ".!?" for line in made)
    assert "_" not in "".join(made)
    assert not {"Hi.", "Hello there.", "Stop!", "Yes, please."} & set(made)
    with pytest.raises(UserError, match="there are"):
        short_phrases.lines(10_000, 0)


def test_pauses_become_commas_and_the_end_becomes_a_full_stop(tmp_path: Path) -> None:
    phones = (("", 0.0), ("h", 0.3), ("iː", 0.4), ("", 0.5), ("n", 1.0), ("oʊ", 1.1), ("", 1.2))
    aligned = kaldi.Utterance("u", tmp_path / "u.wav", "HE NO", "a", duration=1.5, phones=phones)
    unaligned = replace(aligned, id="v", phones=None)
    marked = punctuate([aligned, unaligned])
    assert [u.text for u in marked] == ["he, no.", "he no"]
    assert [u.text for u in punctuate(marked)] == ["he, no.", "he no"]


def test_average_is_the_weighted_mean() -> None:
    a, b = {"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([4.0, 2.0])}
    assert average([a, b], [1.0, 1.0])["w"].tolist() == [2.0, 2.0]
    assert average([a, b], [3.0, 1.0])["w"].tolist() == [1.0, 2.0]
    assert average([b], [7.0])["w"].tolist() == [4.0, 2.0]
