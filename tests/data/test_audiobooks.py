"""Data directories of LibriLight and Libriheavy, and transcription of recordings without text."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import command, noise
from valle import audio
from valle.data import kaldi
from valle.data.transcription import transcribe
from valle.errors import UserError

BOOK = "100/sea_fairies_0812_librivox_64kb_mp3"
CHAPTER = "01_baum_sea_fairies_64kb"


def write_librilight(folder: Path, segments: list[list[float]], samples: np.ndarray | None = None) -> None:
    """Write a LibriLight of one recording of 80 seconds, in the layout of its archives."""
    recording = folder / "small" / BOOK / f"{CHAPTER}.flac"
    audio.write(recording, np.zeros(80 * 16_000, np.float32) if samples is None else samples, 16_000)
    metadata = {"speaker": "100", "book_meta": {"id": "819"}, "snr": 9.4, "voice_activity": segments}
    recording.with_suffix(".json").write_text(json.dumps(metadata))


def cut(number: int, start: float, texts: list[str]) -> dict:
    """An entry of the manifests of Libriheavy."""
    name = f"small/{BOOK}/{CHAPTER}"
    return {
        "id": f"{name}_{number}",
        "start": start,
        "duration": 7.36,
        "channel": 0,
        "supervisions": [
            {
                "id": f"{name}_{number}",
                "recording_id": name,
                "start": 0,
                "duration": 7.36,
                "channel": 0,
                "language": "English",
                "speaker": "100",
                "custom": {"texts": texts, "pre_texts": ["", ""], "begin_byte": 4993, "end_byte": 5120},
            }
        ],
        "recording": {
            "id": name,
            "sources": [{"type": "file", "channels": [0], "source": f"download/librilight/{name}.flac"}],
            "sampling_rate": 16_000,
            "num_samples": 1_280_000,
            "duration": 80.0,
            "channel_ids": [0],
        },
        "custom": {"text_path": "download/librilight_text/output_text_small_cleaned/Sea Fairies/text.txt"},
        "type": "MonoCut",
    }


def write_libriheavy(folder: Path, part: str, cuts: list[dict]) -> None:
    """Write a manifest of Libriheavy."""
    folder.mkdir(parents=True, exist_ok=True)
    with gzip.open(folder / f"libriheavy_cuts_{part}.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(item) + "\n" for item in cuts)


def test_libriheavy_becomes_a_data_directory_with_the_texts_of_the_books(tmp_path: Path) -> None:
    write_librilight(tmp_path / "corpus" / "download" / "librilight", [])
    texts = ["Why do folks dive?", "WHY DO FOLKS DIVE"], ["She  asked.", "SHE ASKED"], ["", "NOTHING"]
    cuts = [cut(index, start, item) for index, (start, item) in enumerate(zip((3.919, 20.0, 40.0), texts, strict=True))]
    write_libriheavy(tmp_path / "corpus", "small", cuts)
    write_libriheavy(tmp_path / "corpus", "dev", cuts[:1])
    done = command("valle-prepare", "libriheavy", tmp_path / "corpus", tmp_path / "data", "--parts", "small")
    assert done.stdout == f"{tmp_path / 'data' / 'small'}: 2 utterances\n"
    assert not (tmp_path / "data" / "dev").exists()
    first, second = kaldi.read(tmp_path / "data" / "small")
    assert first.id == f"100-sea_fairies_0812_librivox_64kb_mp3-{CHAPTER}_0"
    assert (first.text, second.text) == ("Why do folks dive?", "She asked.")
    assert (first.speaker, first.start, first.end, first.duration) == ("100", 3.919, 11.279, 7.36)
    assert kaldi.validate(tmp_path / "data" / "small") == []


def test_libriheavy_without_its_recordings_is_refused_in_one_line(tmp_path: Path) -> None:
    write_libriheavy(tmp_path / "corpus", "small", [cut(0, 0.0, ["Yes.", "YES"])])
    done = command("valle-prepare", "libriheavy", tmp_path / "corpus", tmp_path / "data", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"put LibriLight, or a link to it, at {tmp_path / 'corpus' / 'download' / 'librilight'}" in done.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("content", [b"{}\n", b"[1]\n", b"no JSON\n", None])
def test_damaged_manifest_is_a_user_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "corpus" / "libriheavy_cuts_dev.jsonl.gz"
    path.parent.mkdir()
    path.write_bytes(b"not gzip" if content is None else gzip.compress(content))
    done = command("valle-prepare", "libriheavy", path.parent, tmp_path / "data", check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"{path}: not a manifest of Libriheavy" in done.stderr


def test_librilight_becomes_utterances_of_joined_speech_of_at_most_20_seconds(tmp_path: Path) -> None:
    # Short pauses are joined, a pause of 5 seconds is not, nor more than 20 seconds; 25 seconds are divided.
    segments = [[0.5, 8.0], [8.4, 14.0], [14.5, 21.0], [26.0, 30.0], [40.0, 65.0]]
    write_librilight(tmp_path / "corpus", segments)
    command("valle-prepare", "librilight", tmp_path / "corpus", tmp_path / "data")
    result = kaldi.read(tmp_path / "data" / "small", transcribed=False)
    times = [(u.start, u.end) for u in result]
    assert times == [(0.5, 14.0), (14.5, 21.0), (26.0, 30.0), (40.0, 52.5), (52.5, 65.0)]
    assert {(u.speaker, u.text) for u in result} == {("100", "")}
    with pytest.raises(UserError, match=r"text: missing; valle-prepare transcribe adds it"):
        kaldi.read(tmp_path / "data" / "small")


def test_librilight_that_is_incomplete_is_refused_in_one_line(tmp_path: Path) -> None:
    write_librilight(tmp_path / "corpus", [])
    metadata = tmp_path / "corpus" / "small" / BOOK / f"{CHAPTER}.json"
    for content, options, reason in (
        ("{}", (), f"{metadata}: not the metadata of LibriLight"),
        ("{}", ("--parts", "medium"), "has no part 'medium'; it has small"),
        (None, (), f"{metadata}: cannot be read"),
    ):
        if content is None:
            metadata.unlink()
        else:
            metadata.write_text(content)
        done = command("valle-prepare", "librilight", tmp_path / "corpus", tmp_path / "data", *options, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert reason in done.stderr
        assert not (tmp_path / "data").exists()


def test_transcribe_adds_the_recognized_words(speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech).samples
    write_librilight(tmp_path / "corpus", [[0.0, len(samples) / 16_000]], samples)
    command("valle-prepare", "librilight", tmp_path / "corpus", tmp_path / "data")
    command("valle-prepare", "transcribe", tmp_path / "data" / "small", "--recognizer", "pocketsphinx")
    (utterance,) = kaldi.read(tmp_path / "data" / "small")
    assert {"lazy", "the"} <= set(utterance.text.split())
    assert kaldi.validate(tmp_path / "data" / "small") == []
    done = command("valle-prepare", "transcribe", tmp_path / "data" / "small", check=False)
    assert done.returncode == 2
    assert "every utterance has a transcript" in done.stderr


def untranscribed(folder: Path) -> Path:
    """A data directory of forty utterances of two lengths, the first of which has a transcript."""
    for name, seconds in (("a", 0.2), ("b", 0.4)):
        audio.write(folder / f"{name}.wav", noise(seconds), 16_000)
    utterances = [kaldi.Utterance(f"ann-{i:02d}", folder / f"{'ab'[i % 2]}.wav", "", "ann") for i in range(40)]
    kaldi.write(folder / "data", utterances)
    (folder / "data" / "text").write_text("ann-00 From a person.\n")
    return folder / "data"


def test_interrupted_transcription_continues_where_it_stopped(tmp_path: Path) -> None:
    data = untranscribed(tmp_path)
    recognized: list[int] = []

    def recognize(waveforms: list[np.ndarray]) -> list[str]:
        if len(recognized) == 32:
            raise KeyboardInterrupt
        recognized.extend(map(len, waveforms))
        return [f"{len(samples)} samples" for samples in waveforms]

    with pytest.raises(KeyboardInterrupt):
        transcribe(data, recognize, 16_000, "first")
    assert (data / "text").read_text() == "ann-00 From a person.\n"
    more: list[int] = []

    def recognize_rest(waveforms: list[np.ndarray]) -> list[str]:
        more.extend(map(len, waveforms))
        return [f"{len(samples)} samples" for samples in waveforms]

    assert transcribe(data, recognize_rest, 16_000, "first") == (40, 0)
    assert len(more) == 39 - 32
    texts = [u.text for u in kaldi.read(data)]
    assert texts == ["From a person.", *(f"{(3200, 6400)[i % 2]} samples" for i in range(1, 40))]
    assert not (data / "transcripts.jsonl").exists()


def test_recordings_without_recognized_words_are_left_out(tmp_path: Path) -> None:
    data = untranscribed(tmp_path)

    def recognize(waveforms: list[np.ndarray]) -> list[str]:
        return ["Yes." if len(samples) == 6400 else "" for samples in waveforms]

    assert transcribe(data, recognize, 16_000, "whisper-tiny.en") == (21, 19)
    assert [u.text for u in kaldi.read(data)] == ["From a person.", *["Yes."] * 20]


def test_transcription_of_nothing_changes_nothing(tmp_path: Path) -> None:
    data = untranscribed(tmp_path)
    (data / "text").unlink()
    with pytest.raises(UserError, match="recognizes no words"):
        transcribe(data, lambda waveforms: [" "] * len(waveforms), 16_000, "deaf")
    assert not (data / "text").exists()
    assert len(kaldi.read(data, transcribed=False)) == 40
