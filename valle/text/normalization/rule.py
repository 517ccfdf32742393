"""A rule: what is replaced, and by what words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

Rule = tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]]


def rule(pattern: str, words: str | Callable[[re.Match[str]], str], flags: int = 0) -> Rule:
    """Compile a rule. A function that returns the match's own text leaves it as it is."""
    return re.compile(pattern, flags), words


def apply(rules: Iterable[Rule], text: str) -> str:
    """All rules, one after the other, each wherever it matches."""
    for pattern, words in rules:
        text = pattern.sub(words, text)
    return text


def choice(words: Iterable[str]) -> str:
    """A pattern for any of the words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
