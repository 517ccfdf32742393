"""valle-prepare: selections and error messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi


def test_subset_selects_by_duration_and_alignment(corpus: Path, tmp_path: Path) -> None:
    everything = {u.id: u for u in kaldi.with_durations(kaldi.read(corpus / "train"))}
    lengths = sorted(u.duration for u in everything.values())
    low, high = lengths[2], lengths[5]
    command("valle-prepare", "subset", corpus / "train", tmp_path / "some", "--min-seconds", str(low),
            "--max-seconds", str(high))  # fmt: skip
    selected = {u.id: u for u in kaldi.read(tmp_path / "some")}
    assert selected.keys() == {key for key, u in everything.items() if low <= u.duration <= high}
    assert 0 < len(selected) < len(everything)
    assert all((u.text, u.path) == (everything[key].text, everything[key].path) for key, u in selected.items())
    assert not kaldi.validate(tmp_path / "some")
    kaldi.write(
        tmp_path / "half", [replace(u, phones=u.phones if i % 2 else None) for i, u in enumerate(everything.values())]
    )
    command("valle-prepare", "subset", tmp_path / "half", tmp_path / "aligned", "--min-seconds", "0", "--aligned")
    assert [u.id for u in kaldi.read(tmp_path / "aligned")] == sorted(everything)[1::2]
    done = command("valle-prepare", "subset", corpus / "train", tmp_path / "none", "--min-seconds", "50", check=False)
    assert done.returncode == 2
    assert not (tmp_path / "none").exists()


@pytest.fixture
def three_speakers(tmp_path: Path) -> Path:
    """A data directory of four utterances each of three speakers, which last 60 to 137 seconds by utt2dur."""
    audio.write(tmp_path / "one.wav", noise(0.1), 16_000)
    utterances = [
        kaldi.Utterance(
            f"{name}-{i}", tmp_path / "one.wav", f"Sentence {i}.", name, duration=60.0 + 7 * (3 * i + k % 3)
        )
        for k, name in enumerate(("ann", "bob", "cy"))
        for i in range(4)
    ]
    kaldi.write(tmp_path / "speakers", utterances)
    return tmp_path / "speakers"


def select(directory: Path, name: str, *options: str) -> list[kaldi.Utterance]:
    """The utterances that `valle-prepare subset` selects."""
    command("valle-prepare", "subset", directory, directory.parent / name, *options)
    return kaldi.read(directory.parent / name)


def test_subset_selects_the_same_number_of_random_utterances_of_each_speaker(three_speakers: Path) -> None:
    selected = select(three_speakers, "two", "--per-speaker", "2", "--seed", "1")
    assert [u.speaker for u in selected] == ["ann", "ann", "bob", "bob", "cy", "cy"]
    assert selected == select(three_speakers, "again", "--per-speaker", "2", "--seed", "1")
    others = [select(three_speakers, f"seed{seed}", "--per-speaker", "2", "--seed", f"{seed}") for seed in (2, 3)]
    assert selected not in others
    # The selection of a speaker is the same without the other speakers.
    kaldi.write(three_speakers.parent / "bob", [u for u in kaldi.read(three_speakers) if u.speaker == "bob"])
    alone = select(three_speakers.parent / "bob", "bob2", "--per-speaker", "2", "--seed", "1")
    assert [u.id for u in alone] == [u.id for u in selected if u.speaker == "bob"]


def test_subset_of_hours_is_random_and_part_of_the_subset_of_more_hours(three_speakers: Path) -> None:
    everything = kaldi.read(three_speakers)
    longest = max(u.duration for u in everything)
    total = sum(u.duration for u in everything)
    selections = []
    for hours in (0.1, 0.2, total / 3600):
        selected = select(three_speakers, f"h{hours}", "--hours", str(hours))
        assert hours * 3600 - longest < sum(u.duration for u in selected) <= hours * 3600 + 1e-6
        selections.append({u.id for u in selected})
    assert selections[0] < selections[1] < selections[2] == {u.id for u in everything}
    assert {u.id for u in select(three_speakers, "other", "--hours", "0.1", "--seed", "1")} != selections[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "give what to select"),
        (("--per-speaker", "0"), "choose at least 1"),
        (("--per-speaker", "5"), "'ann' has 4"),
        (("--hours", "0"), "more than 0"),
        (("--hours", "nan"), "more than 0"),
        (("--hours", "1"), "at most all of them"),
        (("--hours", "0.001"), "choose more hours"),
        (("--hours", "0.1", "--seed", "-1"), "seed"),
    ],
)
def test_subset_that_cannot_be_selected_is_refused_in_one_line(
    three_speakers: Path, options: tuple[str, ...], reason: str
) -> None:
    done = command("valle-prepare", "subset", three_speakers, three_speakers.parent / "no", *options, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (three_speakers.parent / "no").exists()


def test_lists_that_are_not_utf8_are_refused_in_one_line(data_directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("grüße.wav|jürgen|Grüße.\n".encode("latin-1"))
    for arguments in (["list", path, tmp_path / "x"], ["split", data_directory, "x", "y", "--speaker-list", path]):
        done = command("valle-prepare", *arguments, check=False)
        assert done.returncode == 2
        assert done.stderr == f"valle-prepare: {path}: is not UTF-8 text; save it as UTF-8\n"


@pytest.mark.parametrize("option", ["--speakers", "--utterances"])
def test_corpus_too_small_to_split_is_refused_in_one_line(tmp_path: Path, option: str) -> None:
    audio.write(tmp_path / "one.wav", noise(1.0), 16_000)
    kaldi.write(tmp_path / "data", [kaldi.Utterance("ann-0", tmp_path / "one.wav", "Some words.", "ann")])
    done = command(
        "valle-prepare", "split", tmp_path / "data", tmp_path / "a", tmp_path / "b", option, "1", check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("valle-prepare: cannot hold out 1 of 1")
    assert done.stderr.count("\n") == 1
