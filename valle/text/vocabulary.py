"""The vocabulary of a model, which is stored in its checkpoints."""

from __future__ import annotations

from valle.errors import UserError

PADDING = "<pad>"


class Vocabulary:
    """Symbols and their ids; id 0 is padding.

    Args:
        symbols: Distinct symbols in the order of their ids, beginning with PADDING.

    Raises:
        ValueError: Symbols repeat, or the first is another one.
    """

    def __init__(self, symbols: list[str]) -> None:
        if not symbols or symbols[0] != PADDING or len(set(symbols)) != len(symbols):
            raise ValueError(f"a vocabulary is a list of distinct symbols that begins with {PADDING!r}")
        self.symbols = list(symbols)
        self._ids = {symbol: index for index, symbol in enumerate(symbols)}

    def __len__(self) -> int:
        """Return the number of ids, padding included."""
        return len(self.symbols)

    def __eq__(self, other: object) -> bool:
        """Return whether the other is a vocabulary with the same symbols in the same order."""
        return isinstance(other, Vocabulary) and self.symbols == other.symbols

    def encode(self, symbols: list[str]) -> list[int]:
        """Return the id of each symbol. Raises UserError that names every symbol that is not in the vocabulary."""
        unknown = sorted({symbol for symbol in symbols if symbol not in self._ids})
        if unknown:
            names = ", ".join(repr(symbol) for symbol in unknown)
            raise UserError(
                f"phonemes {names} do not occur in what the model was trained on; "
                "reword the text, or use a model trained on this language"
            )
        return [self._ids[symbol] for symbol in symbols]
