"""Scoring of a test set, its cache and its output files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BIN, command, evaluate
from tests.evaluation.conftest import SCORE
from valle import audio
from valle.evaluation.cache import ScoreCache


def test_one_command_writes_every_output_file(evaluated: Path) -> None:
    report = evaluated / "report"
    rows = [json.loads(line) for line in (report / "scores.jsonl").read_text().splitlines()]
    assert [row["system"] for row in rows] == ["recording", "codec", "synthesized"] * 3
    assert all(set(row) == set(asdict(SCORE)) for row in rows)
    document = json.loads((report / "summary.json").read_text())
    for system in ("recording", "codec", "synthesized"):
        own = [row for row in rows if row["system"] == system]
        wer = document["systems"][system]["wer"]
        assert wer["value"] == sum(row["word_errors"] for row in own) / sum(row["words"] for row in own)
        assert wer["low"] <= wer["value"] <= wer["high"]
    assert document["recipe"] == "egs/none"
    assert "--model small" in document["command"]
    assert document["systems"]["synthesized"]["rtf"]["value"] > 0
    synthesized = [json.loads(line) for line in (evaluated / "wav" / "speech.jsonl").read_text().splitlines()]
    assert {line["file"] for line in synthesized} == {f"{row['id']}.wav" for row in rows}
    for line in synthesized:
        codes = np.load(evaluated / "wav" / "codes" / line["file"].replace(".wav", ".npy"))
        assert abs(len(codes) / 50 - line["seconds"]) < 0.05
        assert line["seconds"] == pytest.approx(audio.duration(evaluated / "wav" / line["file"]))
    table = (report / "report.md").read_text()
    assert table in (evaluated / "RESULTS.md").read_text()
    assert r"\toprule" in (report / "report.tex").read_text()


def test_scoring_continues_after_sigkill_with_the_same_scores(evaluated: Path) -> None:
    options = ["--title", "three", "--batch-size", "1"]
    arguments = [BIN / "valle-eval", evaluated / "list.tsv", evaluated / "wav", evaluated / "killed", *options]
    process = subprocess.Popen(list(map(str, arguments)), stdout=subprocess.DEVNULL, start_new_session=True)
    cache = evaluated / "killed" / "score_cache.jsonl"
    for _ in range(6000):
        if cache.is_file() and len(cache.read_text().splitlines()) >= 4:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = cache.read_text().splitlines()
    assert 4 <= len(before) < 9
    with open(cache, "a", encoding="utf-8") as file:
        file.write('{"key": "[cut o')
    evaluate(evaluated, output="killed")
    after = cache.read_text().splitlines()
    assert after[: len(before)] == before
    # Nothing is scored twice; the incomplete line stays between.
    assert len(after) == 9 + 1
    plain = [json.loads(line) for line in (evaluated / "report" / "scores.jsonl").read_text().splitlines()]
    resumed = [json.loads(line) for line in (evaluated / "killed" / "scores.jsonl").read_text().splitlines()]
    for one, two in zip(plain, resumed, strict=True):
        assert (one["id"], one["system"], one["transcript"]) == (two["id"], two["system"], two["transcript"])
        assert one["sim_o"] == pytest.approx(two["sim_o"], abs=1e-5)
        assert one["dnsmos_p835"] == pytest.approx(two["dnsmos_p835"], abs=1e-4)


def test_changed_files_are_scored_again(evaluated: Path) -> None:
    changed = evaluated / "changed"
    shutil.copytree(evaluated / "report", changed)
    shutil.rmtree(changed / "codec")
    # The copies have new modification times.
    shutil.copytree(evaluated / "report" / "codec", changed / "codec")
    evaluate(evaluated, output="changed")
    cache = (changed / "score_cache.jsonl").read_text().splitlines()
    assert [json.loads(line)["score"]["system"] for line in cache[9:]] == ["codec"] * 3
    done = command("valle-eval", "compare", evaluated / "report", changed)
    assert "Transcripts differ in 0 utterances" in done.stdout
    assert "| WER |" in done.stdout


def test_other_weights_of_a_scoring_model_clear_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "score_cache.jsonl"
    weights = tmp_path / "recognizer" / "model.bin"
    weights.parent.mkdir()
    for content, other in (("one", {}), ("two", {}), ("two", {"codec": "mini"})):
        cache.touch()
        weights.write_text(content)
        os.utime(weights, ns=(1, len(content) + (content == "two")))
        settings = {"recognizer": str(weights.parent), **other}
        ScoreCache(tmp_path, settings)
        # The first time there are no settings to compare with.
        assert cache.exists() == (content == "one")
        cache.touch()
        ScoreCache(tmp_path, settings)
        assert cache.exists()
