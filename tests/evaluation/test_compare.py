"""Comparison of two systems."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from tests.evaluation.conftest import METRIC, SCORE
from valle.errors import UserError
from valle.evaluation.compare import compare, difference, read_scores
from valle.evaluation.compare import markdown as comparison_table


def test_same_system_does_not_differ_and_a_worse_one_does() -> None:
    rng = np.random.default_rng(0)
    a = {str(i): replace(SCORE, id=str(i), word_errors=int(rng.integers(0, 3))) for i in range(40)}
    worse = {key: replace(s, word_errors=s.word_errors + 1, transcript="a c") for key, s in a.items()}
    same = {d.metric.name: d for d in compare(a, a).differences}
    assert same["wer"].p == 1
    assert same["wer"].low == same["wer"].high == 0
    comparison = compare(a, worse)
    wer = {d.metric.name: d for d in comparison.differences}["wer"]
    assert wer.b - wer.a == pytest.approx(0.1)
    assert wer.p < 0.001
    assert 0 < wer.low <= 0.1 <= wer.high
    assert len(comparison.changed) == 40


def test_p_value_has_its_level_for_equal_systems() -> None:
    rng = np.random.default_rng(1)
    low = 0
    for _ in range(100):
        pairs = [tuple(replace(SCORE, dnsmos_p835=float(v)) for v in row) for row in rng.normal(size=(20, 2))]
        low += difference(METRIC["dnsmos_p835"], pairs).p < 0.1
    assert 3 <= low <= 20


def test_different_test_sets_are_a_user_error(tmp_path: Path) -> None:
    a = {key: replace(SCORE, id=key) for key in "uv"}
    with pytest.raises(UserError, match="fewer than two"):
        compare(a, {key: replace(SCORE, id=key) for key in "wx"})
    with pytest.raises(UserError, match="two texts"):
        compare(a, {key: replace(SCORE, id=key, text="c") for key in "uv"})
    with pytest.raises(UserError, match=r"scores\.jsonl"):
        read_scores(tmp_path)


def test_scores_of_earlier_versions_have_no_p808(tmp_path: Path) -> None:
    records = [asdict(replace(SCORE, id=key)) for key in "uv"]
    for record in records:
        record["dnsmos"] = record.pop("dnsmos_p835")
        del record["dnsmos_p808"]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    former = read_scores(tmp_path)
    assert [(s.dnsmos_p835, s.dnsmos_p808) for s in former.values()] == [(SCORE.dnsmos_p835, None)] * 2
    current = {key: replace(SCORE, id=key) for key in "uv"}
    assert "| DNSMOS P.808 | 3.50 | 3.50 |" in comparison_table("a", "b", compare(current, current))
    table = comparison_table("a", "b", compare(former, current))
    assert "| DNSMOS P.835 | 3.00 | 3.00 |" in table
    assert "P.808" not in table


def test_comparison_skips_missing_scores() -> None:
    a = {str(i): replace(SCORE, id=str(i)) for i in range(4)}
    b = dict(a)
    b["0"] = replace(a["0"], transcript=None, word_errors=None, dnsmos_p835=None, failures={"WER": "x"})
    comparison = compare(a, b)
    counts = {d.metric.name: d.count for d in comparison.differences}
    assert (counts["wer"], counts["dnsmos_p835"], counts["sim_o"]) == (3, 3, 4)
    assert comparison.changed == []
    assert "Excluded here: 1 utterances that could not be recognized" in comparison_table("a", "b", comparison)
