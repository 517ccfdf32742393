"""Scorer calls that return a reason where they cannot score one utterance."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from valle.errors import UserError

LISTED = 5  # utterances that a line about failures names


def attempt(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Call a scorer.

    Returns:
        Its result and "", or None and the reason in one line. A result that is not finite counts as a failure.

    Raises:
        UserError: the scorer cannot be used at all, e.g. its package is not installed.
    """
    try:
        result = function(*arguments)
    except UserError:
        raise
    except Exception as error:
        return None, one_line(error)
    values = np.array(list(result.values())) if isinstance(result, dict) else result
    if isinstance(values, (float, np.ndarray)) and not np.isfinite(values).all():
        return None, "the result is not a finite number"
    return result, ""


def attempt_read(function: Callable[..., Any], *arguments: Any) -> tuple[Any, str]:
    """Like `attempt` for reading a file: a UserError, such as an unreadable file, is a reason too."""
    try:
        return attempt(function, *arguments)
    except UserError as error:
        return None, one_line(error)


def one_line(error: BaseException) -> str:
    """Message of an exception, shortened to one line; its class where it has no message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


def failure_lines(failures: Iterable[tuple[str, str, str]]) -> list[str]:
    """One line for each measurement and reason.

    Args:
        failures: what was not scored, reason, utterance id.
    """
    ids: dict[tuple[str, str], list[str]] = {}
    for what, reason, key in failures:
        ids.setdefault((what, reason), []).append(key)
    lines = []
    for (what, reason), keys in ids.items():
        more = f" and {len(keys) - LISTED} more" if len(keys) > LISTED else ""
        utterances = "utterance" if len(keys) == 1 else "utterances"
        lines.append(f"{what} not scored for {len(keys)} {utterances} ({', '.join(keys[:LISTED])}{more}): {reason}")
    return lines
