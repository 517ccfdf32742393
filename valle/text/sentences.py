"""Split a long text, as symbols, into parts that are synthesized one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SENTENCE = ".?!"
CLAUSE = ",;:"
# Share of a text at either end in which it is not split while there is a boundary elsewhere.
EDGE = 0.2

Boundary = Literal["sentence", "clause", "word", "none"]


@dataclass(frozen=True)
class Part:
    """A part of a text.

    Attributes:
        symbols: Its text units.
        boundary: What it ends with; "none" inside of a word and at the end of the text.
    """

    symbols: list[str]
    boundary: Boundary


def split(symbols: list[str], max_length: int, length: Callable[[list[str]], int] = len) -> list[Part]:
    """Split text units into parts of about equal length, none longer than `max_length`.

    A text is halved at the sentence end nearest to its middle; where there is none, at a comma, semicolon or colon;
    else between words; and so on with the halves. A text that is short enough stays whole, whatever number of sentences
    it has.

    Args:
        symbols: Phonemes with spaces between words, or units of byte pair encoding that begin with `▁` at a word.
        max_length: Upper bound of `length(part.symbols)`.
        length: Gives the length of a list of symbols, by default their number.

    Returns:
        The parts in order, without spaces at their ends.
    """
    return _split(_strip(symbols), max_length, length, "none")


def _split(symbols: list[str], max_length: int, length: Callable[[list[str]], int], end: Boundary) -> list[Part]:
    """Split symbols that end with a boundary."""
    if length(symbols) <= max_length or len(symbols) < 2:
        return [Part(symbols, end)]
    cut, boundary = _find_cut(symbols)
    left = _split(_strip(symbols[:cut]), max_length, length, boundary)
    return left + _split(_strip(symbols[cut:]), max_length, length, end)


def _find_cut(symbols: list[str]) -> tuple[int, Boundary]:
    """Index of the first symbol after the best boundary to split at, and the kind of boundary."""
    middle = len(symbols) / 2
    words = [i for i in range(1, len(symbols)) if symbols[i][0] in " ▁"]
    sentences = [i for i in words if symbols[i - 1][-1] in SENTENCE]
    clauses = [i for i in words if symbols[i - 1][-1] in CLAUSE]
    candidates: list[tuple[Boundary, list[int]]] = [("sentence", sentences), ("clause", clauses), ("word", words)]
    # A boundary near an end leaves a very short part, so those of a lower kind in the middle are preferred to it.
    for boundary, indices in candidates:
        inner = [i for i in indices if abs(i - middle) <= (0.5 - EDGE) * len(symbols)]
        if inner:
            return min(inner, key=lambda i: abs(i - middle)), boundary
    for boundary, indices in candidates:
        if indices:
            return min(indices, key=lambda i: abs(i - middle)), boundary
    return len(symbols) // 2, "none"


def _strip(symbols: list[str]) -> list[str]:
    """Remove spaces at both ends."""
    first = 0
    last = len(symbols)
    while first < last and symbols[first] == " ":
        first += 1
    while last > first and symbols[last - 1] == " ":
        last -= 1
    return symbols[first:last]
