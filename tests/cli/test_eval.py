"""Command line of valle-eval."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import command
from valle.data import kaldi
from valle.data.kaldi import Utterance
from valle.evaluation.score import FORMER_FIELDS, SYSTEMS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list.tsv", "nothing", "out"], "does not exist"),
        (["nolist.tsv", "wav", "out"], "nolist.tsv"),
        (["list.tsv", "wav", "out", "--codec", "nocodec"], "nocodec"),
        (["list.tsv", "wav", "out", "--recognizer", "norecognizer"], "norecognizer"),
        (["list.tsv", "wav", "out", "--batch-size", "0"], "--batch-size"),
        (["list.tsv", "wav", "out", "--transcripts", "list.tsv"], "names no audio file of the test set by id"),
        (["list.tsv", "wav", "out", "--transcripts", "text", "--recognizer", "x"], "not allowed with"),
        (["list.tsv", "wav", "out", "--transcripts", "text", "--continuation-only"], "are of whole files"),
        (["list.tsv", "wav", "out", "--continuation-only"], "is no continuation with its prompt"),
        (["compare", "report", "out"], "scores.jsonl"),
        (["codec", "nothing", "out"], "nothing"),
        (["codec", "wav", "out", "--codebooks", "9"], "--codebooks 9"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(evaluated: Path, arguments: list[str], message: str) -> None:
    done = command("valle-eval", *arguments, cwd=evaluated, check=False)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("warning:")]
    assert len(lines) == 1
    assert message in lines[0]
    assert not (evaluated / "out").exists()


def test_data_directory_named_codec_can_be_scored(speech: Path, tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog near the river bank."
    kaldi.write(tmp_path / "codec", [Utterance("u", speech, text, "s")])
    (tmp_path / "wav").mkdir()
    shutil.copy(speech, tmp_path / "wav" / "u.wav")
    options = ("--codec", "mini", "--recognizer", "pocketsphinx")
    command("valle-eval", "score", "codec", "wav", "report", *options, cwd=tmp_path)
    scores = [json.loads(line) for line in (tmp_path / "report" / "scores.jsonl").read_text().splitlines()]
    assert [(s["id"], s["system"]) for s in scores] == [("u", s) for s in SYSTEMS]


@pytest.mark.parametrize(
    "arguments", [["./codec", "wav", "out"], ["data", "wav", "out"], ["score", "codec", "wav", "out"]]
)
def test_score_is_the_default_command(tmp_path: Path, arguments: list[str]) -> None:
    done = command("valle-eval", *arguments, "--batch-size", "0", cwd=tmp_path, check=False)
    assert "--batch-size must be at least 1" in done.stderr


def test_options_may_precede_the_arguments_of_the_default_command(tmp_path: Path) -> None:
    done = command("valle-eval", "--batch-size", "0", "data", "wav", "out", cwd=tmp_path, check=False)
    assert "--batch-size must be at least 1" in done.stderr


@pytest.mark.parametrize("name", ["score", "compare", "codec", "watermark"])
def test_every_command_has_its_help(name: str) -> None:
    assert f"valle-eval {name}" in command("valle-eval", name, "--help").stdout
    assert name in command("valle-eval", "--help").stdout


def test_compare_reads_scores_of_earlier_versions(evaluated: Path, tmp_path: Path) -> None:
    former = {new: old for old, new in FORMER_FIELDS.items()}
    records = [json.loads(line) for line in (evaluated / "report" / "scores.jsonl").read_text().splitlines()]
    assert set(former) <= set(records[0])
    lines = [json.dumps({former.get(name, name): value for name, value in record.items()}) for record in records]
    (tmp_path / "scores.jsonl").write_text("\n".join(lines) + "\n")
    one = command("valle-eval", "compare", evaluated / "report", evaluated / "report").stdout
    two = command("valle-eval", "compare", evaluated / "report", tmp_path).stdout
    assert one.splitlines()[1:] == two.splitlines()[1:]
