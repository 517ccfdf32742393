"""Selection among synthesized candidates."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.conftest import METRIC, SCORE
from valle.evaluation.metrics import METRICS, estimate
from valle.evaluation.score import Score
from valle.evaluation.selection import MEASUREMENTS, select


def candidates(values: list[tuple[int, float]]) -> list[Score]:
    return [replace(SCORE, path=f"u-{i}.wav", word_errors=w, sim_o=s) for i, (w, s) in enumerate(values)]


def equation_23(values: list[tuple[int, float]]) -> int:
    """Return the index that VALL-E 2, equation 23, selects: by WER from a similarity of 0.3 on, else by similarity."""
    best = 0
    for index, (errors, similarity) in enumerate(values):
        a, b = min(similarity, 0.3), min(values[best][1], 0.3)
        if a > b or (a == b and errors < values[best][0]):
            best = index
    return best


@given(st.lists(st.tuples(st.sampled_from([0, 2, 5, 10]), st.floats(-1, 1)), min_size=1, max_size=5))
def test_five_time_sampling_sorts_by_equation_23(values) -> None:
    scores = candidates(values)
    assert select(scores, "first") == scores[0]
    assert select(scores, "sort") == scores[equation_23(values)]
    best = select(scores, "max")
    assert (best.word_errors, best.sim_o) == (min(w for w, _ in values), max(s for _, s in values))


def test_selection_skips_candidates_without_scores() -> None:
    failed = replace(SCORE, path="u-1.wav", transcript=None, **dict.fromkeys(MEASUREMENTS), failures={"audio": "x"})
    assert select([failed, SCORE], "sort") == SCORE
    best = select([failed, SCORE], "max")
    assert (best.word_errors, best.sim_o, best.dnsmos_p808) == (SCORE.word_errors, SCORE.sim_o, SCORE.dnsmos_p808)
    assert select([failed, failed], "max").wer is None
    mean = select([failed, SCORE], "mean")
    assert (mean.word_errors, mean.sim_o, mean.failures) == (SCORE.word_errors, SCORE.sim_o, {"audio": "x"})
    assert select([failed, failed], "mean").wer is None


def test_mean_selection_equals_the_mean_over_the_runs_of_the_whole_test_set() -> None:
    rng = np.random.default_rng(0)
    # Utterances by run: as VALL-E evaluates three runs and averages the results.
    runs = [
        [
            replace(
                SCORE,
                id=str(i),
                words=5 + i,
                word_errors=int(rng.integers(0, 4)),
                sim_o=float(rng.uniform()),
                dnsmos_p808=float(rng.uniform(1, 5)),
                speaker_correct=bool(rng.integers(0, 2)),
                truncated=bool(rng.integers(0, 2)),
                processing_seconds=1.0,
            )
            for i in range(12)
        ]
        for _ in range(3)
    ]
    means = [select(list(candidates), "mean") for candidates in zip(*runs, strict=True)]
    for name in ("wer", "sim_o", "dnsmos_p808", "speaker_accuracy", "truncated", "rtf"):
        result = estimate(METRIC[name], means)
        assert result.value == pytest.approx(np.mean([estimate(METRIC[name], run).value for run in runs])), name
        assert result.count == 12
        assert result.low <= result.value <= result.high
    # The interval is over utterances: three equal runs have that of one run.
    for metric in METRICS:
        equal = [select([score] * 3, "mean") for score in runs[0]]
        for attribute in ("value", "low", "high", "count"):
            expected = getattr(estimate(metric, runs[0]), attribute)
            assert getattr(estimate(metric, equal), attribute) == (expected and pytest.approx(expected)), metric.name
