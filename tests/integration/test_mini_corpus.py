"""The generated corpus of the recipe `mini`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import MINI_LOCAL, command
from valle.data import kaldi

from grammar import sentences  # isort: skip
from spoken import plan_corpus  # isort: skip
from voices import speakers  # isort: skip


def test_sentences_are_distinct_varied_and_reproducible() -> None:
    result = sentences(2000, seed=3)
    assert result == sentences(2000, seed=3)
    assert len(set(result)) == 2000
    assert len({word.strip(".,?!").lower() for text in result for word in text.split()}) > 800


def test_held_out_voices_are_not_training_voices() -> None:
    cast = speakers(0)
    held_out = {s.voice.variant for s in cast if s.held_out}
    assert held_out
    assert held_out.isdisjoint(s.voice.variant for s in cast if not s.held_out)


def test_test_sentences_are_in_no_training_set_of_any_size() -> None:
    tests, train = set(), set()
    for voices, utterances in ((2, 5), (None, 40)):
        for lines in plan_corpus(voices, utterances, seed=3).values():
            tests |= {line.text for line in lines if line.subset != "train"}
            train |= {part for line in lines if line.subset == "train" for part in re.split(r"(?<=[.?]) ", line.text)}
    assert len(tests) == 9 * 4 + 45 * 3
    assert len(train) > 2000
    assert not tests & train


def test_the_same_options_give_the_same_bytes(tmp_path: Path) -> None:
    options = ["--voices", "1", "--utterances", "3"]
    for name, jobs in (("one", "1"), ("two", "2")):
        command("python", MINI_LOCAL / "spoken.py", tmp_path / name, *options, "--jobs", jobs)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.flac"))
    assert len(files) > 40
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    for name in ("train", "valid", "test_seen", "test_unseen"):
        one, two = kaldi.read(tmp_path / "one" / name), kaldi.read(tmp_path / "two" / name)
        assert [(u.id, u.speaker, u.text, u.phones) for u in one] == [(u.id, u.speaker, u.text, u.phones) for u in two]
    assert kaldi.validate(tmp_path / "one" / "test_unseen") == []


@pytest.mark.parametrize("option", ["--voices=46", "--voices=0", "--utterances=0", "--jobs=0", "--seed=-1"])
def test_options_out_of_range_are_refused_in_one_line(tmp_path: Path, option: str) -> None:
    done = command("python", MINI_LOCAL / "spoken.py", tmp_path / "data", option, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert option.partition("=")[0].lstrip("-") in done.stderr
    assert not (tmp_path / "data").exists()
