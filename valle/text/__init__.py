"""Text to phoneme ids: normalize -> phonemize -> vocabulary."""

from valle.text.normalizer import normalize
from valle.text.phonemizer import phonemize
from valle.text.vocabulary import Vocabulary

__all__ = ["Vocabulary", "normalize", "phonemize"]
