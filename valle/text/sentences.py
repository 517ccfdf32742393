"""Split a long text, as symbols, into parts that one decoding can synthesize."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SENTENCE = ".?!"
CLAUSE = ",;:"
EDGE = 0.2  # share of a text at either end in which it is not split while there is a boundary elsewhere

Boundary = Literal["sentence", "clause", "word", "none"]


@dataclass(frozen=True)
class Part:
    """A part of a text.

    Attributes:
        symbols: its text units.
        boundary: what it ends with; "none" inside of a word and at the end of the text.
    """

    symbols: list[str]
    boundary: Boundary


def split(symbols: list[str], max_length: int, length: Callable[[list[str]], int] = len) -> list[Part]:
    """Split text units into parts of about equal length, none longer than `max_length`.

    A text is halved at the sentence end nearest to its middle; where there is none, at a comma, semicolon or colon;
    else between words; and so on with the halves. A text that is short enough stays whole, however many sentences it
    has.

    Args:
        symbols: phonemes with spaces between words, or units of byte pair encoding that begin with `▁` at a word.
        max_length: upper bound on `length(part.symbols)`.
        length: length of a list of symbols, by default their number.
    """
    return _split(_stripped(symbols), max_length, length, "none")


def _split(symbols: list[str], max_length: int, length: Callable[[list[str]], int], end: Boundary) -> list[Part]:
    if length(symbols) <= max_length or len(symbols) < 2:
        return [Part(symbols, end)]
    cut, boundary = _cut(symbols)
    left = _split(_stripped(symbols[:cut]), max_length, length, boundary)
    return left + _split(_stripped(symbols[cut:]), max_length, length, end)


def _cut(symbols: list[str]) -> tuple[int, Boundary]:
    """Index of the first symbol after the best place to split at, and what kind of place it is."""
    middle = len(symbols) / 2
    words = [i for i in range(1, len(symbols)) if symbols[i][0] in " ▁"]
    sentences = [i for i in words if symbols[i - 1][-1] in SENTENCE]
    clauses = [i for i in words if symbols[i - 1][-1] in CLAUSE]
    places: list[tuple[Boundary, list[int]]] = [("sentence", sentences), ("clause", clauses), ("word", words)]
    for boundary, found in places:
        inner = [i for i in found if abs(i - middle) <= (0.5 - EDGE) * len(symbols)]
        if inner:
            return min(inner, key=lambda i: abs(i - middle)), boundary
    for boundary, found in places:
        if found:
            return min(found, key=lambda i: abs(i - middle)), boundary
    return len(symbols) // 2, "none"


def _stripped(symbols: list[str]) -> list[str]:
    """Without spaces at either end."""
    first, last = 0, len(symbols)
    while first < last and symbols[first] == " ":
        first += 1
    while last > first and symbols[last - 1] == " ":
        last -= 1
    return symbols[first:last]
