"""Data directories, the spoken corpus, tokens and batches."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import BIN, ROOT, command, noise
from valle import audio
from valle.data import kaldi
from valle.data.datamodule import TokensDataModule
from valle.data.kaldi import Utterance
from valle.data.phoneme_timing import symbol_starts
from valle.data.spoken.corpus import _plan as corpus_plan
from valle.data.spoken.grammar import sentences
from valle.data.spoken.voices import speakers
from valle.data.textfile import read_lines
from valle.data.tokens import TokensConfig, read_markers
from valle.errors import UserError

LIBRI = ROOT.parent / "shared" / "corpora" / "libri-clips"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    utterances = []
    for speaker in ("ann", "bob", "cy"):
        for index in range(2):
            path = tmp_path / "wav" / f"{speaker}-{index}.wav"
            audio.write(path, noise(0.3), 16_000)
            utterances.append(Utterance(f"{speaker}-{index}", path, "some words", speaker, duration=0.3))
    kaldi.write(tmp_path / "data", utterances)
    return tmp_path / "data"


def test_what_is_written_is_sound_and_reads_back(directory: Path) -> None:
    assert kaldi.validate(directory) == []
    utterances = kaldi.read(directory)
    assert [u.id for u in utterances] == ["ann-0", "ann-1", "bob-0", "bob-1", "cy-0", "cy-1"]
    assert utterances[0].duration == 0.3


def test_every_fault_is_listed_with_its_file_and_line(directory: Path) -> None:
    (directory / "text").write_text("ann-0 words\nann-0 again\nzed words\nbob-0\nbob-1 words\ncy-0 words\n")
    (directory / "wav.scp").write_text("ann-0 sox x |\nbob-0 nowhere.wav\nbob-1 wav\ncy-0 x.wav\ncy-1 y.wav\n")
    (directory / "utt2dur").write_text("ann-0 never\n")
    faults = "\n".join(kaldi.validate(directory))
    for fault in (
        "text:2: 'ann-0' occurs a second time",
        "text:3: 'zed' has no line in utt2spk",
        "text:4: 'bob-0' is out of order",
        "text:4: 'bob-0' has nothing after it",
        "wav.scp:1: 'ann-0' is a pipe",
        "wav.scp:2:",
        "utt2spk:6: 'cy-1' has no line in text",
    ):
        assert fault in faults
    with pytest.raises(UserError, match="more"):
        kaldi.read(directory)


def test_fixing_leaves_a_sound_directory(directory: Path) -> None:
    lines = (directory / "text").read_text().splitlines()
    (directory / "text").write_text("\n".join([*lines[::-1], "ghost words"]) + "\n")
    left, report = kaldi.fix(directory)
    assert left == 6
    assert report.errors
    assert kaldi.validate(directory) == []


def test_known_phones_are_written_and_read_back(directory: Path) -> None:
    phones = (("w", 0.05), ("ɜː", 0.1), ("", 0.2))
    utterances = [replace(u, phones=phones) if u.id == "bob-1" else u for u in kaldi.read(directory)]
    kaldi.write(directory, utterances)
    assert kaldi.validate(directory) == []
    assert kaldi.read(directory) == utterances
    with (directory / "phones.ctm").open("a") as file:
        file.write("cy-0 1 soon w\n")
    assert any("phones.ctm:4:" in fault for fault in kaldi.validate(directory))
    kaldi.fix(directory)
    assert kaldi.read(directory) == utterances


def test_each_symbol_begins_with_its_phone_whatever_the_accent() -> None:
    symbols = ["h", "ˈ", "ɜː", " ", "b", "ˈ", "æ", "θ", ",", " ", "n", "ˈ", "oʊ", "."]
    phones = (("h", 0.1), ("ɜ", 0.2), ("ɹ", 0.25), ("b", 0.3), ("a", 0.4), ("θ", 0.5), ("", 0.6), ("", 0.7))
    phones += (("n", 0.8), ("əʊ", 0.9), ("", 1.1))
    starts = [0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.6, 0.8, 0.8, 0.9, 0.9, 1.1]
    assert symbol_starts(symbols, phones) == starts


def test_tokens_of_the_spoken_corpus_say_when_each_phoneme_begins(tokens: Path) -> None:
    module = TokensDataModule([str(tokens / "train")], [str(tokens / "train")])
    for batch in module.val_dataloader():
        assert batch.starts.shape == batch.phonemes.shape
        for starts, symbols, frames in zip(batch.starts, batch.phoneme_lengths, batch.code_lengths, strict=True):
            assert (starts[:symbols].diff() >= 0).all()
            assert starts[symbols - 1] <= frames
            assert len(starts[:symbols].unique()) > symbols // 2


def test_splitting_never_parts_a_speaker(directory: Path) -> None:
    rest, held_out = kaldi.split(kaldi.read(directory), 1)
    assert {u.speaker for u in rest}.isdisjoint({u.speaker for u in held_out})
    assert (len(rest), len(held_out)) == (4, 2)
    with pytest.raises(UserError):
        kaldi.split(rest, 2)


def test_segments_cut_a_recording(tmp_path: Path) -> None:
    audio.write(tmp_path / "long.wav", noise(2.0), 16_000)
    cut = [Utterance(f"a-{i}", tmp_path / "long.wav", "w", "a", float(i), float(i + 1)) for i in range(2)]
    kaldi.write(tmp_path / "data", cut)
    assert kaldi.validate(tmp_path / "data") == []
    assert [(u.start, u.end) for u in kaldi.read(tmp_path / "data")] == [(0.0, 1.0), (1.0, 2.0)]


def test_sentences_are_distinct_varied_and_repeatable() -> None:
    found = sentences(2000, seed=3)
    assert found == sentences(2000, seed=3)
    assert len(set(found)) == 2000
    assert len({word.strip(".,?!").lower() for text in found for word in text.split()}) > 800


def test_held_out_voices_are_other_voices() -> None:
    cast = speakers(0)
    held_out = {s.voice.variant for s in cast if s.held_out}
    assert held_out
    assert held_out.isdisjoint(s.voice.variant for s in cast if not s.held_out)


def test_the_test_sentences_are_in_no_training_set_of_any_size() -> None:
    tests, train = set(), set()
    for voices, utterances in ((2, 5), (None, 40)):
        for lines in corpus_plan(voices, utterances, seed=3).values():
            tests |= {line.text for line in lines if line.subset != "train"}
            train |= {part for line in lines if line.subset == "train" for part in re.split(r"(?<=[.?]) ", line.text)}
    assert len(tests) == 9 * 4 + 45 * 3
    assert len(train) > 2000
    assert not tests & train


def test_the_spoken_corpus_is_the_same_each_time(tmp_path: Path) -> None:
    for name in ("one", "two"):
        command("valle-prepare", "spoken", tmp_path / name, "--voices", "1", "--utterances", "3")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.flac"))
    assert len(files) > 40
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert kaldi.validate(tmp_path / "one" / "test_unseen") == []


def test_tokenizing_killed_in_the_middle_goes_on_and_loses_nothing(corpus: Path, tmp_path: Path) -> None:
    arguments = [BIN / "valle-tokenize", corpus / "train", tmp_path / "out", "--codec", "mini", "--shard-size", "3"]
    process = subprocess.Popen([str(a) for a in arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list((tmp_path / "out").glob("shard.*.json")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("shard.*.json")}
    with pytest.raises(UserError, match="missing"):
        read_markers(tmp_path / "out")
    command(*arguments)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in before.items())
    names = {u.id for u in kaldi.read(corpus / "train")}
    data = TokensDataModule([str(tmp_path / "out")], [str(tmp_path / "out")])
    assert sorted(i for batch in data.val_dataloader() for i in batch.ids) == sorted(names)
    assert sum(marker["utterances"] for marker in read_markers(tmp_path / "out")) == len(names)
    assert not list((tmp_path / "out").glob(".*"))


def test_other_settings_do_not_go_into_the_same_folder(corpus: Path, tokens: Path) -> None:
    done = command(
        "valle-tokenize", corpus / "train", tokens / "train", "--codec", "mini", "--shard-size", "7", check=False
    )
    assert done.returncode == 2
    assert "shard_size" in done.stderr


def test_batches_hold_at_most_the_duration_and_every_utterance_once(tokens: Path) -> None:
    data = TokensDataModule([str(tokens / "train")], [str(tokens / "valid")], max_duration=20.0, num_buckets=2)
    batches = list(data.train_dataloader())
    ids = [i for batch in batches for i in batch.ids]
    marker = json.loads((tokens / "train" / "config.json").read_text())
    assert len(ids) == len(set(ids)) == marker["utterances"]
    for batch in batches:
        spread = int(batch.code_lengths.max() - batch.code_lengths.min())
        assert int(batch.code_lengths.sum()) <= 20 * 50 + spread
        assert batch.codes.dtype == torch.int64
        assert int(batch.code_lengths.max()) == batch.codes.shape[1]


def texts_of(path: Path, ids: bool = False) -> dict[str, str]:
    return {line.id: line.text for line in read_lines(path, ids)}


def test_a_line_of_a_text_file_is_a_text_unless_every_line_has_an_id_and_a_tab(tmp_path: Path) -> None:
    path = tmp_path / "lines.txt"
    path.write_text("\ufeffWell-known people often meet.\n\n3 bears came.\n", encoding="utf-8")
    assert texts_of(path) == {"0001": "Well-known people often meet.", "0003": "3 bears came."}
    path.write_text("utt-1\tFirst one.\nutt-2\tSecond one.\n")
    assert texts_of(path) == {"utt-1": "First one.", "utt-2": "Second one."}
    path.write_text("utt-1\tFirst one.\nSecond one.\n")
    assert list(texts_of(path)) == ["0001", "0002"]
    path.write_text("utt-1 First one.\nutt-2 Second one.\n")
    assert list(texts_of(path)) == ["0001", "0002"]
    assert texts_of(path, ids=True) == {"utt-1": "First one.", "utt-2": "Second one."}


@pytest.mark.parametrize(
    ("content", "ids", "named"),
    [
        ("\n", False, "holds no text"),
        ("a\tone\na\ttwo\n", False, "lines.txt:2: the id 'a' is on line 1 too"),
        ("../a\tone\n", False, "lines.txt:1: .* no file name"),
        ("a one\nb\n", True, "lines.txt:2: 'b' has no text"),
    ],
)
def test_a_text_file_that_cannot_be_read_is_one_line(tmp_path: Path, content: str, ids: bool, named: str) -> None:
    (tmp_path / "lines.txt").write_text(content)
    with pytest.raises(UserError, match=named):
        read_lines(tmp_path / "lines.txt", ids)


@pytest.mark.skipif(not LIBRI.is_dir(), reason="no real speech beside the project")
def test_librispeech_becomes_a_data_directory(tmp_path: Path) -> None:
    command("valle-prepare", "librispeech", LIBRI, tmp_path)
    assert len(kaldi.read(tmp_path / "train-clean-100")) == 251
    done = command("valle-prepare", "libritts", LIBRI, tmp_path / "no", check=False)
    assert done.returncode == 2
    assert not (tmp_path / "no").exists()


def test_ljspeech_becomes_a_data_directory(tmp_path: Path) -> None:
    lines = ["LJ001-0001|In 1455, Gutenberg|In fourteen fifty-five, Gutenberg", "LJ001-0002|printed.|printed."]
    for line in lines:
        audio.write(tmp_path / "LJSpeech-1.1" / "wavs" / f"{line[:10]}.wav", noise(1.0, 22_050), 22_050)
    (tmp_path / "LJSpeech-1.1" / "metadata.csv").write_text("\n".join(lines) + "\n")
    command("valle-prepare", "ljspeech", tmp_path / "LJSpeech-1.1", tmp_path / "data")
    found = kaldi.read(tmp_path / "data" / "all")
    assert [u.text for u in found] == ["In fourteen fifty-five, Gutenberg", "printed."]
    assert len({u.speaker for u in found}) == 1
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
    found = kaldi.read(tmp_path / "data" / "all")
    assert [u.speaker for u in found] == ["p225", "p225", "p226"]
    assert kaldi.validate(tmp_path / "data" / "all") == []


def test_a_subset_holds_the_utterances_of_a_length_and_what_is_known_of_them(corpus: Path, tmp_path: Path) -> None:
    everything = {u.id: u for u in kaldi.with_durations(kaldi.read(corpus / "train"))}
    lengths = sorted(u.duration for u in everything.values())
    low, high = lengths[2], lengths[5]
    command("valle-prepare", "subset", corpus / "train", tmp_path / "some", "--min-seconds", str(low),
            "--max-seconds", str(high))  # fmt: skip
    kept = {u.id: u for u in kaldi.read(tmp_path / "some")}
    assert kept.keys() == {key for key, u in everything.items() if low <= u.duration <= high}
    assert 0 < len(kept) < len(everything)
    assert all((u.text, u.path) == (everything[key].text, everything[key].path) for key, u in kept.items())
    assert not kaldi.validate(tmp_path / "some")
    kaldi.write(
        tmp_path / "half", [replace(u, phones=u.phones if i % 2 else None) for i, u in enumerate(everything.values())]
    )
    command("valle-prepare", "subset", tmp_path / "half", tmp_path / "known", "--min-seconds", "0", "--aligned")
    assert [u.id for u in kaldi.read(tmp_path / "known")] == sorted(everything)[1::2]
    done = command("valle-prepare", "subset", corpus / "train", tmp_path / "none", "--min-seconds", "50", check=False)
    assert done.returncode == 2
    assert not (tmp_path / "none").exists()


def test_a_list_of_recordings_becomes_a_data_directory(speech: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        shutil.copy(speech, tmp_path / name)
    lines = tmp_path / "list.txt"
    lines.write_text("a.wav|Anna B.|Good morning.\n\nb.wav|  Good   evening. \nc.wav|Good night.\n")
    command("valle-prepare", "list", lines, tmp_path / "data")
    assert kaldi.validate(tmp_path / "data") == []
    found = [(u.id, u.speaker, u.text, u.path.name) for u in kaldi.read(tmp_path / "data")]
    assert found == [
        ("Anna_B_-a", "Anna_B_", "Good morning.", "a.wav"),
        ("speaker-b", "speaker", "Good evening.", "b.wav"),
        ("speaker-c", "speaker", "Good night.", "c.wav"),
    ]
    command("valle-prepare", "split", tmp_path / "data", tmp_path / "rest", tmp_path / "held", "--utterances", "1")
    rest, held = kaldi.read(tmp_path / "rest"), kaldi.read(tmp_path / "held")
    assert sorted(u.id for u in [*rest, *held]) == [key for key, *_ in found]
    assert len(held) == 1


@pytest.mark.parametrize(
    ("line", "reason"),
    [("a.wav", "expected FILE|TEXT"), ("a.wav|", "expected FILE|TEXT"), ("no.wav|Hello.", "no.wav is not there"),
     ("a.wav|Hello.\na.wav|Hello.", ":2: a.wav is there twice"), ("", "is empty")],
)  # fmt: skip
def test_a_list_that_cannot_be_used_is_one_line_and_writes_nothing(
    speech: Path, tmp_path: Path, line: str, reason: str
) -> None:
    shutil.copy(speech, tmp_path / "a.wav")
    (tmp_path / "list.txt").write_text(line)
    done = command("valle-prepare", "list", tmp_path / "list.txt", tmp_path / "data", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert reason in done.stderr
    assert not (tmp_path / "data").exists()


def test_the_template_goes_from_a_list_to_speech(corpus: Path, tmp_path: Path) -> None:
    root = ROOT
    for folder in ("egs", "recipes"):
        ignored = shutil.ignore_patterns("data", "dump", "exp")
        shutil.copytree(root / folder, tmp_path / folder, symlinks=True, ignore=ignored)
    (tmp_path / "egs" / "TEMPLATE").rename(tmp_path / "egs" / "mine")
    lines = [f"{u.path}|{u.speaker}|{u.text}" for u in kaldi.read(corpus / "train")]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    script = ["bash", str(tmp_path / "egs" / "mine" / "run.sh"), "--list", "list.txt", "--stop-stage", "5"]
    done = subprocess.run(
        [*script, "--test-utterances", "1", "--train-options", "--trainer.max_steps 1"],
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "egs" / "mine" / "exp" / "test" / "wav").glob("*.wav"))) == 1


@pytest.mark.parametrize("content", ["{", "[]", '{"x": 1}', "\udcff"])
def test_damaged_settings_of_tokens_are_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=f"{path}: is (damaged|not UTF-8)"):
        TokensConfig.read(tmp_path)


def test_lists_that_are_not_utf8_are_one_line(directory: Path, tmp_path: Path) -> None:
    path = tmp_path / "latin1.txt"
    path.write_bytes("grüße.wav|jürgen|Grüße.\n".encode("latin-1"))
    for arguments in (["list", path, tmp_path / "x"], ["split", directory, "x", "y", "--speaker-list", path]):
        done = command("valle-prepare", *arguments, check=False)
        assert done.returncode == 2
        assert done.stderr == f"valle-prepare: {path}: is not UTF-8 text; save it as UTF-8\n"


@pytest.mark.parametrize("part", ["--speakers", "--utterances"])
def test_a_corpus_too_small_to_split_is_one_line(tmp_path: Path, part: str) -> None:
    audio.write(tmp_path / "one.wav", noise(1.0), 16_000)
    kaldi.write(tmp_path / "data", [kaldi.Utterance("ann-0", tmp_path / "one.wav", "Some words.", "ann")])
    done = command("valle-prepare", "split", tmp_path / "data", tmp_path / "a", tmp_path / "b", part, "1", check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("valle-prepare: cannot hold out 1 of 1")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("count", "usable"), [(1, 1), (3, 0), (3, 1)])
def test_too_few_training_utterances_are_one_line(tmp_path: Path, count: int, usable: int) -> None:
    utterances = []
    for index in range(count):
        path = tmp_path / f"{index}.wav"
        audio.write(path, noise(0.5 if index < usable else 1.5), 16_000)
        utterances.append(kaldi.Utterance(f"ann-{index}", path, "Some words.", "ann"))
    kaldi.write(tmp_path / "data", utterances)
    command("valle-tokenize", tmp_path / "data", tmp_path / "tokens", "--codec", "mini")
    module = TokensDataModule([tmp_path / "tokens"], [tmp_path / "tokens"], max_utterance=1.0)
    with pytest.raises(UserError, match=f"tokens: {usable} utterances to train on of at most 1 s"):
        module.train_dataloader()


def test_utterances_too_long_to_train_on_do_not_count_as_buckets(tmp_path: Path) -> None:
    utterances = []
    for index in range(5):
        path = tmp_path / f"{index}.wav"
        audio.write(path, noise(0.5 if index < 2 else 1.5), 16_000)
        utterances.append(kaldi.Utterance(f"ann-{index}", path, "Some words.", "ann"))
    kaldi.write(tmp_path / "data", utterances)
    command("valle-tokenize", tmp_path / "data", tmp_path / "tokens", "--codec", "mini")
    module = TokensDataModule([tmp_path / "tokens"], [tmp_path / "tokens"], max_utterance=1.0, num_workers=0)
    assert sorted(key for batch in module.train_dataloader() for key in batch.ids) == ["ann-0", "ann-1"]
