"""Errors of Kaldi data directories: what `validate` reports and `fix` repairs."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.test_list import read_test_list
from valle.evaluation.test_set import PromptChoice, TestItem, output_paths

SECONDS = 2.0


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of audio files: two of two seconds and one of more than a minute."""
    folder = tmp_path_factory.mktemp("recordings")
    for name in ("one", "two", "a b"):
        audio.write(folder / f"{name}.wav", noise(SECONDS), 16_000)
    audio.write(folder / "long.flac", np.zeros(61 * 8_000, np.float32), 8_000)
    return folder


@pytest.fixture
def whole(recordings: Path, tmp_path: Path) -> Path:
    """A data directory of two utterances, each a whole file."""
    files = {"ann-0": "one.wav", "bob-0": "two.wav"}
    kaldi.write(
        tmp_path / "data",
        [Utterance(k, recordings / f, "Some words.", k[:3], duration=SECONDS) for k, f in files.items()],
    )
    return tmp_path / "data"


@pytest.fixture
def segmented(recordings: Path, tmp_path: Path) -> Path:
    """A data directory of three segments of two recordings."""
    lines = (("ann-0", "one.wav", 0.0, 0.7), ("ann-1", "one.wav", 0.7, 1.9), ("bob-0", "two.wav", 0.5, 2.0))
    kaldi.write(
        tmp_path / "data", [Utterance(k, recordings / f, "Some words.", k[:3], s, e, e - s) for k, f, s, e in lines]
    )
    return tmp_path / "data"


def edit(directory: Path, name: str, old: str, new: str) -> None:
    """Replace the first occurrence of a text in a file."""
    path = directory / name
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode(), 1))


def test_a_written_directory_is_valid_and_reads_back(whole: Path, segmented: Path) -> None:
    for directory in (whole, segmented):
        report = kaldi.check(directory)
        assert report.problems == []
        assert report.utterances == kaldi.read(directory)


# Errors in a valid directory of whole files: the file, the text that is replaced and its replacement, where the error
# must be reported, and the ids of the utterances that must remain after `fix`.
FILE_ERRORS = {
    "byte order mark in text": ("text", "ann-0", "\ufeffann-0", "text:1:", ["ann-0", "bob-0"]),
    "byte order mark in wav.scp": ("wav.scp", "ann-0", "\ufeffann-0", "wav.scp:1:", ["ann-0", "bob-0"]),
    "byte order mark in utt2spk": ("utt2spk", "ann-0", "\ufeffann-0", "utt2spk:1:", ["ann-0", "bob-0"]),
    "byte order mark in spk2utt": ("spk2utt", "ann", "\ufeffann", "spk2utt:1:", ["ann-0", "bob-0"]),
    "byte order mark in utt2dur": ("utt2dur", "ann-0", "\ufeffann-0", "utt2dur:1:", ["ann-0", "bob-0"]),
    "carriage return": ("text", "words.\n", "words.\r\n", "text:1:", ["ann-0", "bob-0"]),
    "carriage return in utt2dur": ("utt2dur", "2.0\n", "2.0\r\n", "utt2dur:1:", ["ann-0", "bob-0"]),
    "no-break space": ("text", "Some words", "Some\u00a0words", "text:1:", ["ann-0", "bob-0"]),
    "line separator": ("text", "Some words", "Some\u2028words", "text:1:", ["ann-0", "bob-0"]),
    "text in another script": ("text", "Some words", "Доброе утро", "text:1:", ["bob-0"]),
    "text without a word": ("text", "Some words.", "...", "text:1:", ["bob-0"]),
    "no text": ("text", " Some words.", "", "text:1:", ["bob-0"]),
    "blank line": ("text", "bob-0", "\nbob-0", "text:2:", ["ann-0", "bob-0"]),
    "out of order": ("text", "ann-0 Some words.\n", "cy-0 Yes.\nann-0 Some words.\n", "text:2:", ["ann-0", "bob-0"]),
    "twice": ("text", "bob-0", "ann-0 No.\nbob-0", "text:2:", ["ann-0", "bob-0"]),
    "not UTF-8": ("text", "bob-0 Some", "bob-0 \udcff", "text:2:", ["ann-0"]),
    "duration of another file": ("utt2dur", "ann-0 2.0", "ann-0 102.0", "utt2dur:1:", ["ann-0", "bob-0"]),
    "duration that is no number": ("utt2dur", "ann-0 2.0", "ann-0 nan", "utt2dur:1:", ["ann-0", "bob-0"]),
    "no duration": ("utt2dur", "bob-0 2.0\n", "", "text:2:", ["ann-0", "bob-0"]),
    "unknown utterance in utt2dur": ("utt2dur", "bob-0", "bo-0 1.0\nbob-0", "utt2dur:2:", ["ann-0", "bob-0"]),
    "pipe": ("wav.scp", "ann-0 ", "ann-0 sox x.wav -t wav - |\nann-1 ", "wav.scp:1:", ["bob-0"]),
    "no file": ("wav.scp", "one.wav", "none.wav", "wav.scp:1:", ["bob-0"]),
    "home directory": ("wav.scp", "ann-0 /", "ann-0 ~/none/", "wav.scp:1:", ["bob-0"]),
    "home directory of nobody": ("wav.scp", "ann-0 /", "ann-0 ~0/none/", "wav.scp:1:", ["bob-0"]),
    "longer than tokenizing takes": ("wav.scp", "one.wav", "long.flac", "text:1:", ["bob-0"]),
    "utterance without text": ("wav.scp", "bob-0", "bo-0 /x.wav\nbob-0", "wav.scp:2:", ["ann-0", "bob-0"]),
    "two speakers": ("utt2spk", "ann-0 ann", "ann-0 ann b", "utt2spk:1:", ["ann-0", "bob-0"]),
    "no speaker": ("utt2spk", "ann-0 ann", "ann-0", "utt2spk:1:", ["bob-0"]),
    "not in spk2utt": ("spk2utt", "ann ann-0\n", "", "utt2spk:1:", ["ann-0", "bob-0"]),
    "another's in spk2utt": ("spk2utt", "ann ann-0", "ann ann-0 bob-0", "spk2utt:1:", ["ann-0", "bob-0"]),
}


@pytest.mark.parametrize("case", FILE_ERRORS)
def test_an_error_is_reported_and_fixed(whole: Path, case: str) -> None:
    name, old, new, location, remain = FILE_ERRORS[case]
    content = (whole / name).read_text(encoding="utf-8")
    assert old in content
    (whole / name).write_bytes(content.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    errors = kaldi.validate(whole)
    assert any(error.startswith(f"{whole / location}") for error in errors), errors
    count, _ = kaldi.fix(whole)
    assert count == len(remain)
    assert [p for p in kaldi.check(whole).problems if "begin with its speaker" not in p.message] == []
    assert [u.id for u in kaldi.read(whole)] == remain
    assert {u.text for u in kaldi.read(whole)} == {"Some words."}
    assert all(abs(u.duration - SECONDS) < 0.01 for u in kaldi.read(whole))


# Errors in a valid directory of segments: a line, its replacement, and the times of the segments that must remain.
SEGMENT_ERRORS = {
    "begins past the end": ("ann-1 one 0.7 1.9", "ann-1 one 2.5 2.9", {"ann-0": (0.0, 0.7), "bob-0": (0.5, 2.0)}),
    "ends far past the end": ("ann-1 one 0.7 1.9", "ann-1 one 0.7 3", {"ann-0": (0.0, 0.7), "bob-0": (0.5, 2.0)}),
    "ends past the end": ("bob-0 two 0.5 2.0", "bob-0 two 0.5 2.3", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "backwards": ("ann-0 one 0.0 0.7", "ann-0 one 0.7 0.0", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "negative": ("ann-0 one 0.0 0.7", "ann-0 one -1 0.7", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "infinite": ("ann-0 one 0.0 0.7", "ann-0 one 0.0 inf", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "no number": ("ann-0 one 0.0 0.7", "ann-0 one 0.0 1_0", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "a channel": ("ann-0 one 0.0 0.7", "ann-0 one 0.0 0.7 1", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "unknown recording": ("ann-0 one 0.0 0.7", "ann-0 six 0.0 0.7", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
    "no segment": ("ann-0 one 0.0 0.7\n", "", {"ann-1": (0.7, 1.9), "bob-0": (0.5, 2.0)}),
}


@pytest.mark.parametrize("case", SEGMENT_ERRORS)
def test_a_wrong_segment_is_reported_and_fixed(segmented: Path, case: str) -> None:
    old, new, remain = SEGMENT_ERRORS[case]
    edit(segmented, "segments", old, new)
    (segmented / "utt2dur").unlink()
    line = next((i for i, (a, b) in enumerate(zip(old.split(), new.split(), strict=False)) if a != b), None)
    assert line is None or line > 0
    location = "segments:" if new else "text:1:"
    assert any(error.startswith(f"{segmented / location}") for error in kaldi.validate(segmented))
    kaldi.fix(segmented)
    assert kaldi.check(segmented).problems == []
    result = {u.id: (u.start, u.end) for u in kaldi.read(segmented)}
    assert {key: result.get(key) for key in remain} == remain
    for u in kaldi.read(segmented):
        assert len(audio.read(u.path, start=u.start, end=u.end).samples) == round((u.end - u.start) * 16_000)


def test_an_end_of_minus_one_is_the_end_of_the_recording(segmented: Path) -> None:
    edit(segmented, "segments", "bob-0 two 0.5 2.0", "bob-0 two 0.5 -1")
    report = kaldi.check(segmented)
    assert report.errors == []
    assert [f"{p}".split(": ")[0] for p in report.warnings] == [f"{segmented / 'segments'}:3"]
    assert kaldi.with_durations(kaldi.read(segmented))[2].duration == SECONDS - 0.5
    kaldi.fix(segmented)
    assert kaldi.check(segmented).problems == []
    assert (kaldi.read(segmented)[2].start, kaldi.read(segmented)[2].end) == (0.5, SECONDS)


def test_tabs_and_a_missing_line_end_are_read_with_a_warning(whole: Path) -> None:
    before = kaldi.read(whole)
    for name in ("text", "wav.scp", "utt2spk", "utt2dur"):
        content = (whole / name).read_text(encoding="utf-8")
        (whole / name).write_text(content.replace("-0 ", "-0\t").rstrip("\n"), encoding="utf-8")
    report = kaldi.check(whole)
    assert report.errors == []
    assert {str(p.path.name) for p in report.warnings} == {"text", "wav.scp", "utt2spk", "utt2dur"}
    assert kaldi.read(whole) == before
    kaldi.fix(whole)
    assert kaldi.check(whole).problems == []
    assert kaldi.read(whole) == before


@pytest.mark.parametrize("key", ["../ann", "a/b", "..", ".hidden", "a\\b", "x" * 250])
def test_an_id_that_cannot_name_a_file_is_refused_everywhere(recordings: Path, tmp_path: Path, key: str) -> None:
    u = Utterance("ann-0", recordings / "one.wav", "Some words.", "ann", duration=SECONDS)
    with pytest.raises(UserError, match="rename it"):
        kaldi.write(tmp_path / "no", [replace(u, id=key)])
    assert not (tmp_path / "no").exists()
    with pytest.raises(UserError, match="cannot name a file"):
        output_paths(tmp_path, TestItem(key, u.text, PromptChoice(u, None, None)), 1)
    (tmp_path / "list.tsv").write_text(f"id\tprompt\ttext\n{key}\t{u.path}\tYes.\n", encoding="utf-8")
    with pytest.raises(UserError, match="line 2"):
        read_test_list(tmp_path / "list.tsv")

    kaldi.write(tmp_path / "data", [u])
    for name in ("text", "wav.scp", "utt2spk", "spk2utt", "utt2dur"):
        edit(tmp_path / "data", name, "ann-0", key)
    with pytest.raises(UserError, match="text:1:"):
        kaldi.read(tmp_path / "data")
    kaldi.fix(tmp_path / "data")
    assert kaldi.validate(tmp_path / "data") == []
    (fixed,) = kaldi.read(tmp_path / "data")
    assert (fixed.text, fixed.speaker, fixed.path) == (u.text, u.speaker, u.path)
    kaldi.write(tmp_path / "again", [fixed])


def test_a_pipe_that_only_decodes_a_file_is_replaced_by_the_file(recordings: Path, whole: Path) -> None:
    edit(whole, "wav.scp", f"{recordings}/one.wav", f"flac -c -d -s {recordings}/one.wav |")
    edit(whole, "wav.scp", f"{recordings}/two.wav", f"cat {recordings}/two.wav|")
    assert len(kaldi.validate(whole)) == 2
    allowed = command("valle-prepare", "validate", whole, "--allow-pipes")
    assert allowed.stdout.count("is a pipe") == 2
    kaldi.fix(whole)
    assert kaldi.check(whole).problems == []
    assert [u.path.name for u in kaldi.read(whole)] == ["one.wav", "two.wav"]


def test_other_kaldi_files_are_compared_and_not_changed(segmented: Path) -> None:
    others = {"spk2gender": "ann f\nbob x\n", "reco2dur": "one 2.0\ntwo 12.0\n", "utt2lang": "ann-0 en\n", "mine": "\r"}
    for name, content in others.items():
        (segmented / name).write_bytes(content.encode())
    report = kaldi.check(segmented)
    assert report.errors == []
    assert sorted({p.path.name for p in report.warnings}) == ["reco2dur", "utt2lang"]
    edit(segmented, "text", "ann-0", "\ufeffann-0")
    done = command("valle-prepare", "fix", segmented)
    assert "3 utterances, 1 error fixed, 0 utterances dropped" in done.stdout
    assert {name: (segmented / name).read_bytes().decode() for name in others} == others
    assert (segmented / ".backup" / "text").read_bytes().startswith(b"\xef\xbb\xbf")
    assert {line.split()[0] for line in (segmented / "wav.scp").read_text(encoding="utf-8").splitlines()} == {
        "one",
        "two",
    }


def test_an_id_without_its_speaker_is_a_warning(whole: Path) -> None:
    edit(whole, "utt2spk", "ann-0 ann", "ann-0 zoe")
    edit(whole, "spk2utt", "ann ann-0\nbob bob-0\n", "bob bob-0\nzoe ann-0\n")
    report = kaldi.check(whole)
    assert report.errors == []
    assert "does not begin with its speaker, 'zoe'" in str(report.warnings[0])


def test_warnings_of_the_normalizer_have_file_and_line(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def normalize(text: str, language: str) -> str:
        warnings.warn(f"{text!r} is left out", stacklevel=2)
        return text

    monkeypatch.setattr("valle.text.normalize", normalize)
    edit(whole, "text", "Some words.", "Some words 1.")
    assert [str(p) for p in kaldi.check(whole).warnings] == [
        f"{whole / 'text'}:1: 'ann-0': 'Some words 1.' is left out"
    ]


def test_a_directory_without_usable_utterances_is_refused_in_one_line(whole: Path) -> None:
    for name in ("text", "wav.scp"):
        (whole / name).write_bytes(b"")
    for verb in ("validate", "fix"):
        done = command("valle-prepare", verb, whole, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    shutil.rmtree(whole)
    assert command("valle-prepare", "validate", whole, check=False).stderr.count("\n") == 1
