"""The symbols that a model reads: phonemes, or units of byte pair encoding."""

from __future__ import annotations

from valle.text.bpe import bpe_units
from valle.text.phonemizer import PUNCTUATION, STRESS, phonemize


class TextUnits:
    """Convert normalized text to symbols.

    Args:
        language: Language tag of espeak-ng, for phonemes.
        bpe: Tokenizer as JSON (`valle.text.train_bpe`); None: phonemes.
    """

    def __init__(self, language: str = "en-us", bpe: str | None = None) -> None:
        self.language = language
        self.bpe = bpe

    def __call__(self, texts: list[str]) -> list[list[str]]:
        """Return the symbols of each text.

        Raises:
            UserError: A character is in no unit, or espeak-ng does not support the language.
        """
        return bpe_units(texts, self.bpe) if self.bpe else phonemize(texts, self.language)

    def join(self, first: list[str], second: list[str]) -> list[str]:
        """Return the symbols of two texts, one after the other."""
        # Units of byte pair encoding mark the beginning of a word themselves.
        between = [" "] if first and not self.bpe else []
        return [*first, *between, *second]

    def length(self, symbols: list[str]) -> int:
        """Return the length of a text: the number of its phonemes, or of the letters of its units."""
        return sum(map(len, symbols)) if self.bpe else len(symbols)

    def phones(self, symbols: list[str]) -> int:
        """Return the number of phones of a text, or of the letters of its units, which determine its duration."""
        silent = set(PUNCTUATION + STRESS + " ▁")
        if self.bpe:
            return sum(character not in silent for unit in symbols for character in unit)
        return sum(symbol not in silent for symbol in symbols)
