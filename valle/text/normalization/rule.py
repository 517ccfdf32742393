"""Replacement rules of normalization."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Rule:
    """A replacement; its regular expression is compiled when it is first applied.

    Attributes:
        pattern: Regular expression of the text to replace.
        words: Its replacement, or a function of the match that returns it. A function that returns the text of the
            match leaves it unchanged.
        flags: Flags of `re.compile`.
    """

    pattern: str
    words: str | Callable[[re.Match[str]], str]
    flags: int = 0

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled regular expression."""
        return re.compile(self.pattern, self.flags)


def apply(rules: Iterable[Rule], text: str) -> str:
    """Apply rules to a text one after the other, each wherever it matches."""
    for rule in rules:
        text = rule.regex.sub(rule.words, text)
    return text


def choice(words: Iterable[str]) -> str:
    """Return a pattern that matches any of the words, longer ones first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


def table(words: str) -> list[str]:
    """Return the words of a table."""
    return words.split()
