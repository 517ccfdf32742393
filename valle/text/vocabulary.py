"""The phoneme vocabulary: which symbol has which id. It travels inside checkpoints."""

from __future__ import annotations

from collections.abc import Iterable

from valle.errors import UserError

PADDING = "<pad>"


class Vocabulary:
    """Phoneme symbols and their ids; id 0 is padding.

    `Vocabulary.from_utterances(phonemes)` holds every symbol that occurs, sorted.
    """

    def __init__(self, symbols: list[str]) -> None:
        if not symbols or symbols[0] != PADDING or len(set(symbols)) != len(symbols):
            raise ValueError(f"a vocabulary is a list of distinct symbols that begins with {PADDING!r}")
        self.symbols = list(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}

    @classmethod
    def from_utterances(cls, utterances: Iterable[list[str]]) -> Vocabulary:
        """Every symbol of the given phoneme sequences."""
        return cls([PADDING, *sorted({symbol for utterance in utterances for symbol in utterance})])

    def __len__(self) -> int:
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.symbols == other.symbols

    def encode(self, phonemes: list[str]) -> list[int]:
        """Symbols to ids. Raises UserError that names every symbol the vocabulary does not hold."""
        unknown = sorted({symbol for symbol in phonemes if symbol not in self._ids})
        if unknown:
            names = ", ".join(repr(symbol) for symbol in unknown)
            raise UserError(
                f"phonemes {names} do not occur in what the model was trained on; "
                "reword the text, or use a model trained on this language"
            )
        return [self._ids[symbol] for symbol in phonemes]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Ids back to symbols."""
        return [self.symbols[index] for index in ids]
