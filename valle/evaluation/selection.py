"""Selection among several synthesized candidates of an utterance (VALL-E 2, section 4.1.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from valle.evaluation.score import Score

SELECTIONS = ("first", "sort", "max")

# VALL-E 2, equation 23: candidates whose similarity to the prompt is above this are ranked by their WER.
SIMILARITY_THRESHOLD = 0.3


def select(candidates: list[Score], selection: str) -> Score:
    """Return one score for the candidates of an utterance: single sampling, or five-time sampling of VALL-E 2.

    Args:
        candidates: Scores of all candidates.
        selection: "first", the first candidate; "sort", the lowest WER among the candidates that are similar enough to
            the prompt, else the most similar candidate (equation 23); "max", the best value of each metric, whichever
            candidate has it.
    """
    if selection == "first":
        return candidates[0]
    best = max(candidates, key=_sort_key)
    if selection == "sort":
        return best
    recognized = [s for s in candidates if s.word_errors is not None]
    fewest_errors = min(recognized, key=lambda s: s.word_errors or 0) if recognized else best
    return replace(
        best,
        word_errors=fewest_errors.word_errors,
        character_errors=min((s.character_errors for s in recognized if s.character_errors is not None), default=None),
        transcript=fewest_errors.transcript,
        sim_o=_max_available([s.sim_o for s in candidates]),
        sim_r=_max_available([s.sim_r for s in candidates]),
        speaker_correct=_max_available([s.speaker_correct for s in candidates]),
        dnsmos=_max_available([s.dnsmos for s in candidates]),
    )


def _sort_key(score: Score) -> tuple[float, float]:
    """Return the sort key of VALL-E 2, equation 23; a missing value is the lowest."""
    similarity = -math.inf if score.sim_o is None else min(score.sim_o, SIMILARITY_THRESHOLD)
    return similarity, -math.inf if score.wer is None else 1 - score.wer


def _max_available(values: Sequence[Any]) -> Any:
    """Return the maximum of the values that are not None; None where all are."""
    return max((value for value in values if value is not None), default=None)
