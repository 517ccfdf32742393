"""Transcripts of an outside recognizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import command, noise
from tests.evaluation.conftest import RATE, FakeEncoder
from valle import audio, codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.failures import report_notes
from valle.evaluation.items import ScoringItem, read_items
from valle.evaluation.score import Score
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items
from valle.evaluation.transcripts import read_transcripts

ITEMS = [
    ScoringItem("u", "s", "a b", None, Utterance("u", Path("u.flac"), "a b", "s"), (Path("u.wav"),)),
    ScoringItem("v", "s", "c d", None, None, (Path("v-1.wav"), Path("v-2.wav"))),
]


def test_transcripts_are_read_by_the_names_of_the_audio_files(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_text("u a  b\n\nv-1\nv-2\tc\nrecording/u A B\n")
    read = read_transcripts(path, ITEMS, "sort")
    assert read == {"u": "a  b", "v-1": "", "v-2": "c", "recording/u": "A B"}
    # The first candidate needs no transcripts of the others.
    path.write_text("u a\nv-1 c\n")
    assert read_transcripts(path, ITEMS, "first") == {"u": "a", "v-1": "c"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("u a\nv-1 c\n", r"has no line for v-2; give a line"),
        ("u a\nv-1 c\nv-2 d\nw e\nv f\n", r"names no audio file of the test set by w, v; give"),
        ("u a\nv-1 c\nx d\n", r"has no line for v-2, and names no audio file of the test set by x; give"),
        ("u a\nv-1 c\nv-2 d\nrecording/v e\n", "by recording/v; give"),
        ("u a\nu b\n", "line 2: the id 'u' is used twice"),
    ],
)
def test_missing_extra_and_repeated_ids_are_one_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "text").write_text(content)
    with pytest.raises(UserError, match=message):
        read_transcripts(tmp_path / "text", ITEMS, "sort")
    with pytest.raises(UserError, match="cannot be read"):
        read_transcripts(tmp_path / "nothing", ITEMS, "sort")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A test list of one utterance, list.tsv, with its recording and two candidates."""
    for name in ("prompt", "reference", "wav/u-1", "wav/u-2"):
        audio.write(tmp_path / f"{name}.wav", noise(1.9), RATE)
    (tmp_path / "list.tsv").write_text(
        "id\tprompt\ttext\treference\nu\tprompt.wav\tThe quick brown fox.\treference.wav\n"
    )
    return tmp_path


@pytest.mark.usefixtures("fake_dnsmos")
def test_only_files_with_another_transcript_are_scored_again(folder: Path) -> None:
    items = read_items(folder / "list.tsv", folder / "wav")

    def score(text: str) -> dict[str, Score]:
        (folder / "text").write_text(text)
        transcripts = read_transcripts(folder / "text", items, "mean")
        scorer = Scorer(items, codec.load("mini"), None, FakeEncoder(), transcripts)  # type: ignore[arg-type]
        return {s.system: s for s in score_items(items, scorer, folder / "out", {}, selection="mean")}

    scores = score("u-1 THE QUICK BROWN FOX\nu-2 quick brown\n")
    synthesized = scores["synthesized"]
    assert (synthesized.word_errors, synthesized.words, synthesized.early_stop) == (1.0, 4, 0.5)
    for system in ("recording", "codec"):
        assert scores[system].transcript is scores[system].word_errors is None
        assert scores[system].failures == {}
    notes = report_notes(items, list(scores.values()), "mean")
    assert notes == [
        "Mean of 2 candidates; audio and transcript are those of the first",
        "WER, CER and early stops of recording not scored: there are no transcripts of them",
        "WER, CER and early stops of codec resynthesis not scored: there are no transcripts of them",
    ]
    scores = score("u-1 the quick brown fox\nu-2 quick\nrecording/u the quick brown dog\ncodec/u the fox\n")
    assert {s.system: s.word_errors for s in scores.values()} == {"recording": 1, "codec": 2, "synthesized": 1.5}
    cached = (folder / "out" / "score_cache.jsonl").read_text().splitlines()
    again = [Path(json.loads(line)["score"]["path"]).name for line in cached[4:]]
    assert again == ["reference.wav", "u.wav", "u-1.wav", "u-2.wav"]
    score("u-1 the quick brown fox\nu-2 quick\nrecording/u the brown dog\ncodec/u the fox\n")
    cached = (folder / "out" / "score_cache.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"]["system"] for line in cached[8:]] == ["recording"]


def test_command_scores_transcripts_in_place_of_a_recognizer(folder: Path) -> None:
    (folder / "text").write_text("u-1 quick brown\n")
    arguments = ("valle-eval", "list.tsv", "wav", "out", "--codec", "mini", "--transcripts", "text")
    command(*arguments, cwd=folder)
    scores = [json.loads(line) for line in (folder / "out" / "scores.jsonl").read_text().splitlines()]
    assert [(s["system"], s["word_errors"]) for s in scores] == [
        ("recording", None),
        ("codec", None),
        ("synthesized", 2),
    ]
    assert all(s["dnsmos_p808"] is not None for s in scores)
    settings = json.loads((folder / "out" / "summary.json").read_text())["settings"]
    assert (settings["recognizer"], settings["select"]) == ("--transcripts", "first")
