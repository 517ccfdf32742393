"""Metrics and their confidence intervals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.evaluation.conftest import METRIC, SCORE
from valle.evaluation.metrics import Estimate, estimate, summary
from valle.evaluation.tables import markdown


@hypothesis_settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=2, max_size=12))
def test_wer_is_total_errors_over_total_words_within_its_interval(values) -> None:
    scores = [replace(SCORE, words=w, word_errors=e) for w, e in values]
    result = estimate(METRIC["wer"], scores)
    assert result.value == pytest.approx(sum(e for _, e in values) / sum(w for w, _ in values))
    rates = [e / w for w, e in values]
    assert min(rates) - 1e-9 <= result.low <= result.high <= max(rates) + 1e-9


def test_interval_coverage_is_near_its_level() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    sets = 200
    for _ in range(sets):
        values = rng.normal(3.0, 0.5, 40)
        result = estimate(METRIC["dnsmos_p835"], [replace(SCORE, dnsmos_p835=float(v)) for v in values])
        covered += result.low <= 3.0 <= result.high
    assert 0.90 <= covered / sets <= 0.98


def test_unmeasured_metric_has_no_value_and_no_column() -> None:
    scores = [replace(SCORE, system=system) for system in ("recording", "synthesized")]
    table = summary(scores)
    assert list(table) == ["recording", "synthesized"]
    assert table["synthesized"]["rtf"] == Estimate(None, None, None, 0)
    assert "RTF" not in markdown("t", table)
    table = summary([*scores, replace(SCORE, id="v", truncated=True, processing_seconds=1.0)])
    assert (table["synthesized"]["rtf"].value, table["synthesized"]["rtf"].count) == (0.5, 1)
    assert "| RTF |" in markdown("t", table)
