"""Scores: which of several candidates counts, and what the words are compared with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valle.data.kaldi import Utterance
from valle.errors import UserError
from valle.evaluation.score import Score, pairs, select

FIRST = Score("u", "synthesized", "s", Path("u-1.wav"), "a b", "a b", 0.5, 0.9, False)


def candidates(values: list[tuple[float, float]]) -> list[Score]:
    return [replace(FIRST, path=Path(f"u-{i}.wav"), wer=w, similarity=s) for i, (w, s) in enumerate(values)]


def equation_23(values: list[tuple[float, float]]) -> int:
    """VALL-E 2, equation 23, written out: by WER where the similarity is at least 0.3, else by similarity."""
    best = 0
    for index, (wer, similarity) in enumerate(values):
        a, b = min(similarity, 0.3), min(values[best][1], 0.3)
        if a > b or (a == b and 1 - wer > 1 - values[best][0]):
            best = index
    return best


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 1.0]), st.floats(-1, 1)), min_size=1, max_size=5))
def test_five_time_sampling_is_sorted_as_in_the_paper(values) -> None:
    scores = candidates(values)
    assert select(scores, "first") == scores[0]
    assert select(scores, "sort") == scores[equation_23(values)]
    best = select(scores, "max")
    assert (best.wer, best.similarity) == (min(w for w, _ in values), max(s for _, s in values))


def test_candidates_are_found_by_their_numbers(tmp_path: Path) -> None:
    utterance = Utterance("u", tmp_path / "u.wav", "a b", "s")
    for number in (1, 2, 4):
        (tmp_path / f"u-{number}.wav").touch()
    (pair,) = pairs([utterance], {"u": tmp_path}, tmp_path)
    assert [p.name for p in pair.synthesized] == ["u-1.wav", "u-2.wav"]
    (tmp_path / "u.wav").touch()
    (pair,) = pairs([utterance], {"u": tmp_path}, tmp_path)
    assert [p.name for p in pair.synthesized] == ["u.wav"]
    with pytest.raises(UserError, match=r"v\.wav: not there"):
        pairs([replace(utterance, id="v")], {"v": tmp_path}, tmp_path)
