"""Selection among synthesized candidates."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.conftest import SCORE
from valle.evaluation.score import Score
from valle.evaluation.selection import select


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
    measurements = ("transcript", "word_errors", "character_errors", "sim_o", "sim_r", "speaker_correct", "dnsmos")
    failed = replace(SCORE, path="u-1.wav", **dict.fromkeys(measurements), failures={"audio": "x"})
    assert select([failed, SCORE], "sort") == SCORE
    best = select([failed, SCORE], "max")
    assert (best.word_errors, best.sim_o, best.dnsmos) == (SCORE.word_errors, SCORE.sim_o, SCORE.dnsmos)
    assert select([failed, failed], "max").wer is None
