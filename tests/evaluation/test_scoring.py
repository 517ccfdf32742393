"""Scoring of a test set, its cache and its output files."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import BIN, command
from tests.evaluation.conftest import SCORE, FakeEncoder, FakeRecognizer
from valle import audio, codec
from valle.evaluation.cache import ScoreCache
from valle.evaluation.items import ScoringItem
from valle.evaluation.scorer import Scorer
from valle.evaluation.scoring import score_items


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
    # Without references there are three files to score: the synthesized ones.
    rows = [line.split("\t") for line in (evaluated / "list.tsv").read_text().splitlines()]
    column = rows[0].index("reference")
    lines = ["\t".join(field for index, field in enumerate(row) if index != column) for row in rows]
    (evaluated / "synthesized.tsv").write_text("\n".join(lines) + "\n")
    output = evaluated / "killed"
    arguments = ["valle-eval", evaluated / "synthesized.tsv", evaluated / "wav", output, "--batch-size", "1"]
    line = [str(BIN / "valle-eval"), *map(str, arguments[1:])]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
    cache = output / "score_cache.jsonl"
    for _ in range(6000):
        if cache.is_file() and cache.read_text().splitlines():
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = cache.read_text().splitlines()
    assert 1 <= len(before) < 3
    with open(cache, "a", encoding="utf-8") as file:
        file.write('{"key": "[cut o')
    command(*arguments)
    after = cache.read_text().splitlines()
    assert after[: len(before)] == before
    # Nothing is scored twice; the incomplete line stays between.
    assert len(after) == 3 + 1
    plain = [json.loads(line) for line in (evaluated / "report" / "scores.jsonl").read_text().splitlines()]
    resumed = [json.loads(line) for line in (output / "scores.jsonl").read_text().splitlines()]
    for one, two in zip([s for s in plain if s["system"] == "synthesized"], resumed, strict=True):
        assert (one["id"], one["system"], one["transcript"]) == (two["id"], two["system"], two["transcript"])
        assert one["sim_o"] == pytest.approx(two["sim_o"], abs=1e-5)
        assert one["dnsmos_p835"] == pytest.approx(two["dnsmos_p835"], abs=1e-4)


@pytest.mark.parametrize("changed", ["wav", "prompt", "text"])
def test_changed_files_and_texts_are_scored_again(items: list[ScoringItem], tmp_path: Path, changed: str) -> None:
    items = [replace(item, prompt=tmp_path / f"{item.id}-prompt.wav") for item in items if item.id.startswith("long")]
    for item in items:
        shutil.copy(tmp_path / "prompt.wav", item.prompt)
    cache = tmp_path / "out" / "score_cache.jsonl"

    def scored() -> list[str]:
        score_items(items, Scorer(items, codec.load("mini"), FakeRecognizer(), FakeEncoder()), tmp_path / "out", {})  # type: ignore[arg-type]
        return [json.loads(line)["score"]["id"] for line in cache.read_text().splitlines()]

    assert scored() == ["long1", "long2"]
    assert scored() == ["long1", "long2"]
    if changed == "text":
        items[0] = replace(items[0], text="Other words.")
    else:
        path = items[0].synthesized[0] if changed == "wav" else items[0].prompt
        os.utime(path, ns=(1, 1))
    assert scored() == ["long1", "long2", "long1"]


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
