"""Selection among several synthesized candidates of an utterance, or their mean (VALL-E 2, section 4.1.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from valle.evaluation.score import Score

SELECTIONS = ("first", "sort", "max", "mean")

# VALL-E 2, equation 23: candidates whose similarity to the prompt is above this are ranked by their WER.
SIMILARITY_THRESHOLD = 0.3

# Fields of `Score` that "max" and "mean" take over all candidates. The number of words is the same for all of them.
ACCURACY = ("word_errors", "character_errors", "sim_o", "sim_r", "speaker_correct", "dnsmos_p835", "dnsmos_p808")
MEASUREMENTS = (
    *ACCURACY, "sig", "bak", "seconds", "pause_seconds", "longest_silence", "longest_loop", "has_loop", "has_silence",
    "early_stop", "truncated", "processing_seconds",
)  # fmt: skip


def select(candidates: list[Score], selection: str) -> Score:
    """Return one score for the candidates of an utterance: single sampling, several runs, or five-time sampling.

    Args:
        candidates: Scores of all candidates.
        selection: "first", the first candidate; "sort", the lowest WER among the candidates that are similar enough to
            the prompt, else the most similar candidate (VALL-E 2, equation 23); "max", the best value of each metric,
            whichever candidate has it; "mean", the mean of each metric over the candidates that have it, as VALL-E
            averages three runs (section 5.2), with transcript and audio file of the first candidate.
    """
    if selection == "first":
        return candidates[0]
    if selection == "mean":
        return _mean(candidates)
    best = max(candidates, key=_sort_key)
    if selection == "sort":
        return best
    recognized = [s for s in candidates if s.word_errors is not None]
    fewest_errors = min(recognized, key=lambda s: s.word_errors or 0) if recognized else best
    values: dict[str, Any] = {name: max(_available(candidates, name), default=None) for name in ACCURACY}
    values |= {
        "word_errors": fewest_errors.word_errors,
        "character_errors": min(_available(candidates, "character_errors"), default=None),
    }
    return replace(best, transcript=fewest_errors.transcript, **values)


def _mean(candidates: list[Score]) -> Score:
    """Return the first score with the mean of each measurement, and with the failures of all candidates."""
    values: dict[str, Any] = {}
    for name in MEASUREMENTS:
        available = _available(candidates, name)
        values[name] = sum(available) / len(available) if available else None
    failures: dict[str, str] = {}
    for score in candidates:
        failures = score.failures | failures
    return replace(candidates[0], **values, failures=failures)


def _sort_key(score: Score) -> tuple[float, float]:
    """Return the sort key of VALL-E 2, equation 23; a missing value is the lowest."""
    similarity = -math.inf if score.sim_o is None else min(score.sim_o, SIMILARITY_THRESHOLD)
    return similarity, -math.inf if score.wer is None else 1 - score.wer


def _available(candidates: Sequence[Score], name: str) -> list[Any]:
    """Return the values of a field that are not None."""
    return [value for value in (getattr(score, name) for score in candidates) if value is not None]
