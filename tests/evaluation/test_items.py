"""Reading of test sets and of the audio files to be scored."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evaluation.conftest import PROVENANCE, TEXT, score_with_fakes
from valle import codec
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.failures import report_notes
from valle.evaluation.items import ScoringItem, read_items
from valle.evaluation.metrics import summary
from valle.evaluation.report import Report, write_report
from valle.evaluation.tables import markdown


def test_candidates_are_numbered_from_one_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "p.wav").touch()
    (tmp_path / "list.tsv").write_text("id\tprompt\ttext\nu\tp.wav\ta b\n")
    for number in (1, 2, 4):
        (tmp_path / f"u-{number}.wav").touch()
    (item,) = read_items(tmp_path / "list.tsv", tmp_path)
    assert [p.name for p in item.synthesized] == ["u-1.wav", "u-2.wav"]
    (tmp_path / "u.wav").touch()
    (item,) = read_items(tmp_path / "list.tsv", tmp_path)
    assert [p.name for p in item.synthesized] == ["u.wav"]
    (tmp_path / "list.tsv").write_text("id\tprompt\ttext\nv\tp.wav\ta b\n")
    with pytest.raises(UserError, match=r"v\.wav: does not exist"):
        read_items(tmp_path / "list.tsv", tmp_path)


def test_data_directory_without_prompts_has_no_similarity(items: list[ScoringItem], tmp_path: Path) -> None:
    paths = {item.id: item.synthesized[0] for item in items if item.id.startswith("long")}
    kaldi.write(tmp_path / "data", [Utterance(key, path, TEXT, "s") for key, path in paths.items()])
    read = read_items(tmp_path / "data", tmp_path / "wav")
    assert [(item.id, item.prompt) for item in read] == [("long1", None), ("long2", None)]
    scores = list(score_with_fakes(read, tmp_path / "out").values())
    assert [(s.word_errors, s.dnsmos_p835, s.sim_o, s.speaker_correct) for s in scores] == [(0, 3.0, None, None)] * 2
    notes = report_notes(read, scores)
    assert len(notes) == 1
    assert notes[0].startswith("SIM-o, SIM-r and speaker accuracy not scored for ")
    table = summary(scores)
    text = markdown("t", table, notes)
    assert "| WER |" in text
    assert "| SIM-o |" not in text
    assert notes[0] in text
    report = Report("t", read, scores, table, PROVENANCE, notes)
    write_report(tmp_path / "page.html", report, codec.load("mini"))
    assert notes[0] in (tmp_path / "page.html").read_text()
    (tmp_path / "wav" / "prompts.scp").write_text(f"long2 {tmp_path / 'prompt.wav'}\n")
    (item,) = read_items(tmp_path / "data", tmp_path / "wav")
    assert item.prompt == tmp_path / "prompt.wav"
