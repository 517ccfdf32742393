"""Measurements that fail leave a reason, and the evaluation and its report are complete."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.conftest import command, noise
from tests.evaluation.conftest import PROVENANCE, RATE, TEXT, FakeEncoder, FakeRecognizer, score_with_fakes
from valle import audio, codec
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.failures import attempt, failure_lines, failure_notes
from valle.evaluation.items import ScoringItem
from valle.evaluation.metrics import summary
from valle.evaluation.report import Report, write_report
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items
from valle.evaluation.tables import markdown
from valle.optional import require


def test_failed_measurement_leaves_a_reason_and_the_others_are_scored(items: list[ScoringItem], tmp_path: Path) -> None:
    scores = score_with_fakes(items, tmp_path / "out")
    assert scores["long1"].failures == scores["long2"].failures == {}
    assert scores["long1"].word_errors == 0
    assert scores["long1"].sim_o == 1.0
    short = scores["short"]
    assert short.failures == {
        "WER": "recognizer needs longer audio",
        "DNSMOS": "DNSMOS needs longer audio",
        "SIM": "encoder needs longer audio",
    }
    assert [short.word_errors, short.transcript, short.early_stop, short.dnsmos_p808, short.sim_o, short.sim_r] == [
        None
    ] * 6
    assert short.seconds == pytest.approx(0.2)
    page = scores["page"]
    assert list(page.failures) == ["audio"]
    assert "page.wav: is a web page or text, not an audio file" in page.failures["audio"]
    assert (page.seconds, page.wer, page.longest_loop) == (None, None, None)


def test_report_counts_scored_utterances_and_names_the_others(items: list[ScoringItem], tmp_path: Path) -> None:
    scores = list(score_with_fakes(items, tmp_path / "out").values())
    table = summary(scores)
    notes = failure_notes(scores)
    assert table["synthesized"]["wer"].count == table["synthesized"]["sim_o"].count == 2
    assert table["synthesized"]["seconds"].count == 3
    text = markdown("t", table, notes)
    assert "; n = 2)" in text
    assert "- WER of synthesized not scored for 1 utterance (short): recognizer needs longer audio" in text
    report = Report("t", items, scores, table, PROVENANCE, notes)
    write_report(tmp_path / "page.html", report, codec.load("mini"))
    page = (tmp_path / "page.html").read_text()
    assert "n = 2" in page
    assert "recognizer needs longer audio" in page
    assert "WER – %" in page
    assert page.count("<article") == 4


def test_result_that_is_not_finite_is_a_failure(items: list[ScoringItem], tmp_path: Path) -> None:
    short = score_with_fakes(items, tmp_path / "out", FakeEncoder(nan=True))["short"]
    assert short.failures["SIM"] == "the result is not a finite number"
    assert (short.sim_o, short.speaker_correct) == (None, None)


def test_prompt_that_cannot_be_embedded_affects_similarity_only(items: list[ScoringItem], tmp_path: Path) -> None:
    audio.write(tmp_path / "brief.wav", noise(0.2), RATE)
    (tmp_path / "page.wav").write_text("<html></html>")
    for prompt, reason in (("brief.wav", "encoder needs longer audio"), ("page.wav", "not an audio file")):
        others = [replace(items[0], prompt=tmp_path / prompt), items[3]]
        scores = score_with_fakes(others, tmp_path / f"out-{prompt}")
        assert list(scores["long1"].failures) == ["SIM"]
        assert reason in scores["long1"].failures["SIM"]
        assert prompt in scores["long1"].failures["SIM"]
        assert scores["long1"].word_errors == 0
        assert scores["long2"].sim_o == 1.0


def test_unreadable_reference_affects_its_own_rows_only(items: list[ScoringItem], tmp_path: Path) -> None:
    (tmp_path / "page.wav").write_text("<html></html>")
    item = replace(items[0], reference=Utterance("long1", tmp_path / "page.wav", TEXT, "s"))
    scorer = Scorer([item], codec.load("mini"), FakeRecognizer(), FakeEncoder())  # type: ignore[arg-type]
    scores = {s.system: s for s in score_items([item], scorer, tmp_path / "out", {})}
    assert scores["synthesized"].failures == {}
    for system in ("recording", "codec"):
        assert "page.wav: is a web page or text, not an audio file" in scores[system].failures["audio"]


def test_utterances_with_failures_are_scored_again(
    items: list[ScoringItem], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_with_fakes(items[:2], tmp_path / "out")
    monkeypatch.setattr(FakeRecognizer, "transcribe", lambda self, recordings: [TEXT] * len(recordings))
    assert score_with_fakes(items[:2], tmp_path / "out")["short"].word_errors == 0
    assert len((tmp_path / "out" / "score_cache.jsonl").read_text().splitlines()) == 3


def test_missing_package_ends_the_evaluation() -> None:
    def scorer() -> object:
        return require("package_that_does_not_exist", "eval")

    with pytest.raises(UserError, match=r"package_that_does_not_exist is not installed.*pip install 'valle\[eval\]'"):
        attempt(scorer)


def test_failure_line_names_at_most_five_utterances() -> None:
    (line,) = failure_lines([("WER", "too short", str(i)) for i in range(7)])
    assert line == "WER not scored for 7 utterances (0, 1, 2, 3, 4 and 2 more): too short"


def test_command_scores_a_folder_with_damaged_files(speech: Path, tmp_path: Path) -> None:
    wav = tmp_path / "wav"
    wav.mkdir()
    whole = audio.read(speech).samples
    files = {
        "whole": whole,
        "silent": np.zeros(RATE, np.float32),
        "brief": whole[:160],
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
    records = [json.loads(line) for line in (tmp_path / "out" / "scores.jsonl").read_text().splitlines()]
    scores = {record["id"]: record for record in records}
    assert scores["whole"]["failures"] == {}
    assert scores["whole"]["sim_o"] > 0.99
    assert "empty.wav: is empty" in scores["empty"]["failures"]["audio"]
    for key in ("silent", "nan"):
        assert "SIM" in scores[key]["failures"]
        assert scores[key]["sim_o"] is None
    report = (tmp_path / "out" / "report.md").read_text()
    assert "SIM of synthesized not scored for" in report
    assert "empty.wav: is empty" in report
    assert "NaN" not in (tmp_path / "out" / "scores.jsonl").read_text()
