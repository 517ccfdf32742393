"""A scorer that cannot score one utterance leaves a reason in its cell; the evaluation and its report are complete."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import command, noise
from tests.evaluation.test_evaluation import FIRST
from valle import audio, codec
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation import score as score_module
from valle.evaluation.attempt import attempt, failure_lines
from valle.evaluation.codec_scores import score_codec, table
from valle.evaluation.compare import compare
from valle.evaluation.compare import markdown as comparison_table
from valle.evaluation.metrics import summary
from valle.evaluation.report import write_report
from valle.evaluation.score import Item, Judge, Score, failures_of, notes_of, read_items, score, select
from valle.evaluation.tables import markdown

RATE = 16_000
TEXT = "The quick brown fox."
MADE = {"date": "", "commit": "", "recipe": "", "command": ""}


def failing(name: str):
    """A scorer's function that fails for recordings shorter than half a second."""

    def call(samples: np.ndarray, result: object) -> object:
        if len(samples) < RATE // 2:
            raise RuntimeError(f"{name} needs\nlonger audio")
        return result

    return call


class Recognizer:
    """Recognizes every word of the text; fails for a whole batch that holds a short recording."""

    def transcribe(self, recordings):
        return [failing("recognizer")(samples, TEXT) for samples in recordings]


class Encoder:
    def embed(self, samples):
        return failing("encoder")(samples, np.array([1.0, 0.0]))


class NaNEncoder:
    def embed(self, samples):
        return np.array([np.nan, 0.0]) if len(samples) < RATE // 2 else np.array([1.0, 0.0])


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Utterances without a recording: two long ones, a short one, and a file that is no audio."""
    wav = tmp_path / "wav"
    for key, seconds in (("long1", 1.0), ("long2", 1.2), ("short", 0.2)):
        audio.write(wav / f"{key}.wav", noise(seconds), RATE)
    (wav / "page.wav").write_text("<html></html>")
    audio.write(tmp_path / "prompt.wav", noise(1.0), RATE)
    return [
        Item(key, "s", TEXT, tmp_path / "prompt.wav", None, (wav / f"{key}.wav",))
        for key in ("long1", "short", "page", "long2")
    ]


def judged(items: list[Item], folder: Path, encoder: object, monkeypatch: pytest.MonkeyPatch) -> dict[str, Score]:
    quality = {"dnsmos": 3.0, "sig": 3.0, "bak": 4.0}
    monkeypatch.setattr(score_module, "dnsmos", lambda samples: failing("DNSMOS")(samples, quality))
    judge = Judge(items, codec.load("mini"), Recognizer(), encoder)  # type: ignore[arg-type]
    return {s.id: s for s in score(items, judge, folder, {"voices": judge.voices})}


def test_each_scorer_that_fails_leaves_its_reason_and_the_others_score(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(items, tmp_path / "out", Encoder(), monkeypatch)
    assert found["long1"].failures == found["long2"].failures == {}
    assert found["long1"].word_errors == 0
    assert found["long1"].sim_o == 1.0
    short = found["short"]
    assert short.failures == {
        "WER": "recognizer needs longer audio",
        "DNSMOS": "DNSMOS needs longer audio",
        "SIM": "encoder needs longer audio",
    }
    assert [short.word_errors, short.heard, short.early_stop, short.dnsmos, short.sim_o, short.sim_r] == [None] * 6
    assert short.seconds == pytest.approx(0.2)
    page = found["page"]
    assert list(page.failures) == ["audio"]
    assert "page.wav: is a web page or text, not a sound file" in page.failures["audio"]
    assert (page.seconds, page.wer, page.loop) == (None, None, None)


def test_the_report_counts_what_was_scored_and_names_what_was_not(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = list(judged(items, tmp_path / "out", Encoder(), monkeypatch).values())
    found, notes = summary(scores), failures_of(scores)
    assert found["synthesized"]["wer"].count == found["synthesized"]["sim_o"].count == 2
    assert found["synthesized"]["seconds"].count == 3
    text = markdown("t", found, notes)
    assert "; n = 2)" in text
    assert "- WER of synthesized not scored for 1 utterance (short): recognizer needs longer audio" in text
    write_report(tmp_path / "page.html", "t", items, scores, found, codec.load("mini"), MADE, notes=notes)
    page = (tmp_path / "page.html").read_text()
    assert "n = 2" in page
    assert "recognizer needs longer audio" in page
    assert "WER – %" in page
    assert page.count("<article") == 4


def test_a_result_that_is_not_finite_is_a_failure(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = judged(items, tmp_path / "out", NaNEncoder(), monkeypatch)["short"]
    assert short.failures["SIM"] == "the result is not a finite number"
    assert (short.sim_o, short.own_voice) == (None, None)


def test_a_prompt_that_cannot_be_embedded_costs_the_similarity_alone(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio.write(tmp_path / "brief.wav", noise(0.2), RATE)
    (tmp_path / "page.wav").write_text("<html></html>")
    for prompt, reason in (("brief.wav", "encoder needs longer audio"), ("page.wav", "not a sound file")):
        others = [replace(items[0], prompt=tmp_path / prompt), items[3]]
        found = judged(others, tmp_path / f"out-{prompt}", Encoder(), monkeypatch)
        assert list(found["long1"].failures) == ["SIM"]
        assert reason in found["long1"].failures["SIM"]
        assert prompt in found["long1"].failures["SIM"]
        assert found["long1"].word_errors == 0
        assert found["long2"].sim_o == 1.0


def test_a_reference_that_cannot_be_read_costs_its_own_rows_alone(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.wav").write_text("<html></html>")
    item = replace(items[0], reference=Utterance("long1", tmp_path / "page.wav", TEXT, "s"))
    judge = Judge([item], codec.load("mini"), Recognizer(), Encoder())  # type: ignore[arg-type]
    monkeypatch.setattr(score_module, "dnsmos", lambda samples: {"dnsmos": 3.0, "sig": 3.0, "bak": 4.0})
    found = {s.system: s for s in score([item], judge, tmp_path / "out", {})}
    assert found["synthesized"].failures == {}
    for system in ("recording", "codec"):
        assert "page.wav: is a web page or text, not a sound file" in found[system].failures["audio"]


def test_utterances_with_failures_are_scored_again(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(items[:2], tmp_path / "out", Encoder(), monkeypatch)
    monkeypatch.setattr(Recognizer, "transcribe", lambda self, recordings: [TEXT] * len(recordings))
    assert judged(items[:2], tmp_path / "out", Encoder(), monkeypatch)["short"].word_errors == 0
    assert len((tmp_path / "out" / "judged.jsonl").read_text().splitlines()) == 3


def test_candidates_are_selected_from_those_that_were_scored() -> None:
    failed = replace(FIRST, path="u-1.wav", heard=None, word_errors=None, character_errors=None, sim_o=None,
                     sim_r=None, own_voice=None, dnsmos=None, failures={"audio": "x"})  # fmt: skip
    assert select([failed, FIRST], "sort") == FIRST
    best = select([failed, FIRST], "max")
    assert (best.word_errors, best.sim_o, best.dnsmos) == (FIRST.word_errors, FIRST.sim_o, FIRST.dnsmos)
    assert select([failed, failed], "max").wer is None


def test_systems_are_compared_over_what_both_have() -> None:
    a = {str(i): replace(FIRST, id=str(i)) for i in range(4)}
    b = dict(a)
    b["0"] = replace(a["0"], heard=None, word_errors=None, dnsmos=None, failures={"WER": "x"})
    found = compare(a, b)
    counts = {d.metric.name: d.count for d in found.differences}
    assert (counts["wer"], counts["dnsmos"], counts["sim_o"]) == (3, 3, 4)
    assert found.changed == []
    assert "1 utterances that could not be recognized" in comparison_table("a", "b", found)


def test_a_codec_is_scored_over_the_recordings_that_can_be(tmp_path: Path) -> None:
    for key, seconds in (("long", 1.0), ("short", 0.2)):
        audio.write(tmp_path / f"{key}.wav", noise(seconds), RATE)
    (tmp_path / "page.wav").write_text("<html></html>")
    recordings = [Utterance(key, tmp_path / f"{key}.wav", "", "") for key in ("long", "short", "page")]
    scores = score_codec(codec.load("mini"), recordings, Recognizer(), Encoder())  # type: ignore[arg-type]
    assert (scores.metrics["sim"].count, scores.metrics["disagreement"].count, scores.metrics["mel"].count) == (1, 1, 2)
    text = table("t", scores)
    assert "encoder needs longer audio" in text
    assert "page.wav: is a web page or text, not a sound file" in text
    with pytest.raises(UserError, match=r"page\.wav: is a web page or text, not a sound file"):
        score_codec(codec.load("mini"), recordings[2:], Recognizer(), Encoder())  # type: ignore[arg-type]


def test_a_scorer_that_is_not_installed_ends_the_evaluation() -> None:
    def missing() -> float:
        raise UserError("pesq is not installed")

    with pytest.raises(UserError, match="not installed"):
        attempt(missing)


def test_a_line_about_failures_names_a_few_utterances() -> None:
    (line,) = failure_lines([("WER", "too short", str(i)) for i in range(7)])
    assert line == "WER not scored for 7 utterances (0, 1, 2, 3, 4 and 2 more): too short"


def test_the_command_scores_a_folder_with_damaged_files(speech: Path, tmp_path: Path) -> None:
    wav = tmp_path / "wav"
    wav.mkdir()
    whole = audio.read(speech).samples
    files = {
        "whole": whole,
        "silent": np.zeros(RATE, np.float32),
        "brief": whole[:16],
        "nan": np.full(RATE, np.nan, np.float32),
    }
    for key, samples in files.items():
        soundfile.write(wav / f"{key}.wav", samples, RATE, subtype="FLOAT")
    (wav / "empty.wav").touch()
    text = "The quick brown fox jumps over the lazy dog near the river bank."
    rows = [f"{key}\t{speech}\t{text}\n" for key in (*files, "empty")]
    (tmp_path / "list.tsv").write_text("id\tprompt\ttext\n" + "".join(rows))
    done = command("valle-eval", "list.tsv", "wav", "out", "--codec", "mini", cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert "pkg_resources" not in done.stderr
    scores = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    found = {s["id"]: s for s in scores}
    assert found["whole"]["failures"] == {}
    assert found["whole"]["sim_o"] > 0.99
    assert "empty.wav: is empty" in found["empty"]["failures"]["audio"]
    for key in ("silent", "nan"):
        assert "SIM" in found[key]["failures"]
        assert found[key]["sim_o"] is None
    report = (tmp_path / "out" / "report.md").read_text()
    assert "SIM of synthesized not scored for" in report
    assert "empty.wav: is empty" in report
    assert "NaN" not in (tmp_path / "out" / "scores.jsonl").read_text()


def test_a_folder_of_another_system_is_scored_without_prompts(
    items: list[Item], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = {item.id: item.synthesized[0] for item in items if item.id.startswith("long")}
    kaldi.write(tmp_path / "data", [Utterance(key, path, TEXT, "s") for key, path in paths.items()])
    found = read_items(tmp_path / "data", tmp_path / "wav")
    assert [(item.id, item.prompt) for item in found] == [("long1", None), ("long2", None)]
    scores = list(judged(found, tmp_path / "out", Encoder(), monkeypatch).values())
    assert [(s.word_errors, s.dnsmos, s.sim_o, s.own_voice) for s in scores] == [(0, 3.0, None, None)] * 2
    notes = notes_of(found, scores)
    assert len(notes) == 1
    assert notes[0].startswith("SIM-o, SIM-r and own voice not scored for ")
    table = summary(scores)
    text = markdown("t", table, notes)
    assert "| WER |" in text
    assert "| SIM-o |" not in text
    assert notes[0] in text
    write_report(tmp_path / "page.html", "t", found, scores, table, codec.load("mini"), MADE, notes=notes)
    assert notes[0] in (tmp_path / "page.html").read_text()
    (tmp_path / "wav" / "prompts.scp").write_text(f"long2 {tmp_path / 'prompt.wav'}\n")
    (item,) = read_items(tmp_path / "data", tmp_path / "wav")
    assert item.prompt == tmp_path / "prompt.wav"


def test_the_speaker_encoder_is_imported_without_a_warning() -> None:
    script = "from valle.evaluation.similarity import load_encoder; load_encoder()"
    done = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True, check=True)
    assert "pkg_resources" not in done.stderr
