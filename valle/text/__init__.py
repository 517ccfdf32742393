"""Text to phoneme ids: normalize -> phonemize -> vocabulary."""

from valle.text.normalizer import normalize
from valle.text.phonemizer import phonemize
from valle.text.vocabulary import PADDING, Vocabulary

__all__ = ["PADDING", "Vocabulary", "normalize", "phonemize"]
