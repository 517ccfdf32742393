"""A text with the symbols and ids that a model reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedWord:
    """A word of a text and its symbols.

    Attributes:
        text: The word as it is written, with its punctuation; several words where they cannot be told apart.
        start: Index of its first symbol.
        end: Index after its last symbol.
    """

    text: str
    start: int
    end: int


@dataclass(frozen=True)
class EncodedText:
    """A text that was normalized, phonemized and looked up in a model's vocabulary, once.

    Attributes:
        text: The text before normalization.
        symbols: Phonemes, or units of byte pair encoding.
        ids: Id of each symbol in the model's vocabulary.
        language: espeak-ng language tag; None: the model's default.
        words: The words of the text in order, and which symbols are theirs; empty where nothing tells.
        marks: Name of each mark, and index of the symbol before which it stands.
        space: Id of the space between two texts that are joined; empty where the symbols mark words themselves.
    """

    text: str
    symbols: tuple[str, ...]
    ids: tuple[int, ...]
    language: str | None = None
    words: tuple[EncodedWord, ...] = ()
    marks: tuple[tuple[str, int], ...] = ()
    space: tuple[int, ...] = ()
