"""Text to ids: normalization, phonemes or units of byte pair encoding, vocabulary."""

from valle.text.bpe import bpe_symbols, read_bpe, train_bpe
from valle.text.encoded import EncodedText
from valle.text.normalization import TextWarning, normalize
from valle.text.phonemizer import phonemize
from valle.text.units import TextUnits
from valle.text.vocabulary import PADDING, Vocabulary

__all__ = [
    "PADDING",
    "EncodedText",
    "TextUnits",
    "TextWarning",
    "Vocabulary",
    "bpe_symbols",
    "normalize",
    "phonemize",
    "read_bpe",
    "train_bpe",
]
