"""The symbols a model reads: phonemes, or units of byte pair encoding."""

from __future__ import annotations

from valle.text.bpe import bpe_units
from valle.text.phonemizer import PUNCTUATION, STRESS, phonemize


class TextUnits:
    """Turns normalized text into symbols.

    language: espeak-ng's tag, for phonemes
    bpe:      a tokenizer's JSON (`valle.text.train_bpe`); None: phonemes
    """

    def __init__(self, language: str = "en-us", bpe: str | None = None) -> None:
        self.language, self.bpe = language, bpe

    def __call__(self, texts: list[str]) -> list[list[str]]:
        """Symbols of each text. Raises UserError for what cannot be read."""
        return bpe_units(texts, self.bpe) if self.bpe else phonemize(texts, self.language)

    def join(self, first: list[str], second: list[str]) -> list[str]:
        """Symbols of two texts, one after the other. Units of byte pair encoding say themselves where a word begins."""
        between = [" "] if first and not self.bpe else []
        return [*first, *between, *second]

    def length(self, symbols: list[str]) -> int:
        """How long a text is: its phonemes, or the letters of its units."""
        return sum(map(len, symbols)) if self.bpe else len(symbols)

    def phones(self, symbols: list[str]) -> int:
        """How many phones a text has, or letters of its units: what takes time to speak."""
        unspoken = set(PUNCTUATION + STRESS + " ▁")
        if self.bpe:
            return sum(character not in unspoken for unit in symbols for character in unit)
        return sum(symbol not in unspoken for symbol in symbols)
