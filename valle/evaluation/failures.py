"""Failures of single measurements: they leave a reason in the score, and the evaluation continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from valle.errors import UserError
from valle.evaluation.items import ScoringItem
from valle.evaluation.models import one_line
from valle.evaluation.score import SYSTEM_LABELS, Score
from valle.evaluation.test_set import PROMPTS

MAX_LISTED = 5  # ids that a line names


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Call a scorer.

    Returns:
        Its result and "", or None and the reason in one line. A result that is not finite counts as a failure.

    Raises:
        UserError: The scorer cannot be used at all, e.g. its package is not installed.
    """
    try:
        result = function(*arguments)
    # A missing package or model would fail for every utterance, so it ends the evaluation.
    except UserError:
        raise
    # Scoring models are third-party code that raises anything for unusual audio.
    except Exception as error:
        return None, one_line(error)
    # NaN and infinity are no valid JSON, and would spread to the mean of the test set.
    values = np.array(list(result.values())) if isinstance(result, dict) else result
    if isinstance(values, (float, np.ndarray)) and not np.isfinite(values).all():
        return None, "the result is not a finite number"
    return result, ""


def attempt_read(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Call a function that reads a file: `attempt`, except that UserError, e.g. an unreadable file, is a reason too."""
    try:
        return attempt(function, *arguments)
    except UserError as error:
        return None, one_line(error)


def shorten_list(keys: Sequence[str]) -> str:
    """Return the first `MAX_LISTED` ids, and how many more there are."""
    more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
    return f"{', '.join(keys[:MAX_LISTED])}{more}"


def failure_lines(failures: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return one line for each measurement and reason.

    Args:
        failures: Measurement, reason and utterance id of each failure.
    """
    ids: dict[tuple[str, str], list[str]] = {}
    for measurement, reason, key in failures:
        ids.setdefault((measurement, reason), []).append(key)
    lines = []
    for (measurement, reason), keys in ids.items():
        utterances = "utterance" if len(keys) == 1 else "utterances"
        lines.append(f"{measurement} not scored for {len(keys)} {utterances} ({shorten_list(keys)}): {reason}")
    return lines


def failure_notes(scores: Sequence[Score]) -> list[str]:
    """Return one line for each measurement, system and reason with the utterances that could not be scored."""
    return failure_lines(
        (f"{measurement} of {SYSTEM_LABELS[s.system]}", reason, s.id)
        for s in scores
        for measurement, reason in s.failures.items()
    )


def report_notes(items: Sequence[ScoringItem], scores: Sequence[Score], selection: str = "first") -> list[str]:
    """Return the notes of a report: what the scores are of, what is missing and why, and the `failure_notes`.

    Args:
        items: Test set.
        scores: Its scores.
        selection: How the candidates were selected, one of `valle.evaluation.selection.SELECTIONS`.
    """
    notes = []
    counts = {len(item.synthesized) for item in items}
    if selection == "mean":
        candidates = "-".join(map(str, sorted({min(counts), max(counts)})))
        notes.append(f"Mean of {candidates} candidates; audio and transcript are those of the first")
    if any(item.offset for item in items):
        notes.append("Only the speech after the prompt is scored")
    without_prompt = sum(item.prompt is None for item in items)
    if without_prompt:
        reason = f"no {PROMPTS} names another recording of the speaker as the prompt"
        notes.append(f"SIM-o, SIM-r and speaker accuracy not scored for {_of(without_prompt, items)}: {reason}")
    without_text = sum(item.text is None for item in items)
    if without_text:
        reason = "the words after the prompt are not available"
        notes.append(f"WER, CER, words/s and early stops not scored for {_of(without_text, items)}: {reason}")
    for system, label in SYSTEM_LABELS.items():
        missing = [s for s in scores if s.system == system and s.text is not None and s.transcript is None]
        if any(s.seconds is not None and "WER" not in s.failures for s in missing):
            notes.append(f"WER, CER and early stops of {label} not scored: there are no transcripts of them")
    return [*notes, *failure_notes(scores)]


def _of(count: int, items: Sequence[ScoringItem]) -> str:
    """Return "2 of 5 utterances"."""
    return f"{count} of {len(items)} utterances"
