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
