"""A text with the symbols and ids that a model reads."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncodedText:
    """A text that was normalized, phonemized and looked up in a model's vocabulary, once.

    Attributes:
        text: The text before normalization.
        symbols: Phonemes, or units of byte pair encoding.
        ids: Id of each symbol in the model's vocabulary.
        language: espeak-ng language tag; None: the model's default.
    """

    text: str
    symbols: tuple[str, ...]
    ids: tuple[int, ...]
    language: str | None = None
