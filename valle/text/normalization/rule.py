"""Replacement rules of normalization."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def rule(pattern: str, words: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    """Compile a rule.

    Args:
        pattern: Regular expression of the text to replace.
        words: Its replacement, or a function of the match that returns it. A function that returns the text of the
            match leaves it unchanged.
        flags: Flags of `re.compile`.
    """
    return re.compile(pattern, flags), words


def apply(rules: Iterable[Rule], text: str) -> str:
    """Apply rules to a text one after the other, each wherever it matches."""
    for pattern, words in rules:
        text = pattern.sub(words, text)
    return text


def choice(words: Iterable[str]) -> str:
    """Return a pattern that matches any of the words, longer ones first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def table(words: str) -> list[str]:
    """Return the words of a table."""
    return words.split()
