"""Failures of single measurements: they leave a reason in the score, and the evaluation continues."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from valle.errors import UserError
from valle.evaluation.items import ScoringItem
from valle.evaluation.score import SYSTEM_LABELS, Score
from valle.evaluation.test_set import PROMPTS

MAX_LISTED = 5  # utterances that a line about failures names


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


def one_line(error: BaseException) -> str:
    """Return the message of an exception, shortened to one line; its class where it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


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
        more = f" and {len(keys) - MAX_LISTED} more" if len(keys) > MAX_LISTED else ""
        listed = f"{', '.join(keys[:MAX_LISTED])}{more}"
        utterances = "utterance" if len(keys) == 1 else "utterances"
        lines.append(f"{measurement} not scored for {len(keys)} {utterances} ({listed}): {reason}")
    return lines


def failure_notes(scores: Sequence[Score]) -> list[str]:
    """Return one line for each measurement, system and reason with the utterances that could not be scored."""
    return failure_lines(
        (f"{measurement} of {SYSTEM_LABELS[s.system]}", reason, s.id)
        for s in scores
        for measurement, reason in s.failures.items()
    )


def report_notes(items: Sequence[ScoringItem], scores: Sequence[Score]) -> list[str]:
    """Return a line about utterances without a prompt, where there are any, and the `failure_notes`."""
    count = sum(item.prompt is None for item in items)
    if not count:
        return failure_notes(scores)
    reason = f"no {PROMPTS} names another recording of the speaker as the prompt"
    note = f"SIM-o, SIM-r and speaker accuracy not scored for {count} of {len(items)} utterances: {reason}"
    return [note, *failure_notes(scores)]
