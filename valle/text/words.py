"""Which symbols of a text are read for each of its written words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

from valle.errors import UserError
from valle.text.normalization import normalize
from valle.text.phonemizer import PUNCTUATION, STRESS, phonemize
from valle.text.script import Span


@dataclass
class Token:
    """A word of a text.

    Attributes:
        read: What is read.
        written: The word as it is written.
        span: Index of its span.
    """

    read: str
    written: str
    span: int


def read_tokens(spans: Sequence[Span]) -> tuple[str, list[Token]]:
    """Return the text that is read for spans, and its words.

    Signs by themselves belong to the word before them; the words of a span with phonemes or an alias are one.

    Args:
        spans: Spans of one language.
    """
    text = ""
    owners: list[int] = []
    for index, span in enumerate(spans):
        piece = span.text if span.alias is None else span.alias
        if text and piece and text[-1].isalnum() and piece[0].isalnum():
            piece = f" {piece}"
        text += piece
        owners += [index] * len(piece)
    tokens: list[Token] = []
    for match in re.finditer(r"\S+", text):
        characters = range(match.start(), match.end())
        owner = next((owners[at] for at in characters if text[at].isalnum()), None)
        if owner is None:
            if tokens:
                tokens[-1].read += f" {match[0]}"
                tokens[-1].written += f" {match[0]}"
            continue
        span = spans[owner]
        before = "".join(text[at] for at in characters if owners[at] < owner)
        after = "".join(text[at] for at in characters if owners[at] > owner)
        if tokens and tokens[-1].span == owner and (span.alias is not None or span.phonemes is not None):
            tokens[-1].read += f" {match[0]}"
            tokens[-1].written += after if span.alias is not None else f" {match[0]}"
        else:
            written = match[0] if span.alias is None else f"{before}{span.text}{after}"
            tokens.append(Token(match[0], written, owner))
    return text, tokens


@lru_cache(maxsize=10_000)
def _read_alone(token: str, language: str) -> str:
    """Return a written word by itself as it is read; empty where it cannot be read by itself."""
    try:
        return normalize(token, language, quiet=True)
    except UserError:
        return ""


def phones_alone(tokens: list[str], language: str) -> list[list[str]]:
    """Return the phones of each written word by itself; none where it cannot be read by itself."""
    texts = [_read_alone(token, language) for token in tokens]
    phones = iter(phonemize([text for text in texts if text], language))
    return [next(phones) if text else [] for text in texts]


def map_boundaries(alone: list[list[str]], whole: list[str]) -> list[int]:
    """Map the boundaries between words, as they are read one by one, to positions in the symbols of the whole text.

    Args:
        alone: Symbols of each word by itself.
        whole: Symbols of the text.

    Returns:
        Position in `whole` of the end of each word but the last.
    """
    # Stress differs between words alone and in a text; spaces and punctuation stand in the text only.
    ignored = set(PUNCTUATION + STRESS + " ")
    kept = [index for index, symbol in enumerate(whole) if symbol not in ignored]
    words = [[symbol for symbol in word if symbol not in ignored] for word in alone]
    phones = [phone for word in words for phone in word]
    blocks = SequenceMatcher(None, phones, [whole[index] for index in kept], autojunk=False).get_matching_blocks()
    spaces = [index + 1 for index, symbol in enumerate(whole) if symbol == " "]
    positions = []
    counted = 0
    for word in words[:-1]:
        counted += len(word)
        positions.append(_position(counted, blocks, kept, spaces))
    return positions


def _position(boundary: int, blocks: Sequence[tuple[int, int, int]], kept: list[int], spaces: list[int]) -> int:
    """Map a number of phones of the words alone to a position in the whole text.

    Where the words differ from the text, this is the nearest position after a space.
    """
    before = (0, 0)
    for start, other, size in blocks:
        if start < boundary <= start + size:
            return kept[other + boundary - start - 1] + 1
        if start >= boundary:
            share = (boundary - before[0]) / max(1, start - before[0])
            mapped = round(before[1] + share * (other - before[1]))
            position = kept[mapped - 1] + 1 if mapped else 0
            return min(spaces, key=lambda space: abs(space - position), default=position)
        before = (start + size, other + size)
    return kept[-1] + 1 if kept else 0
