"""Written text to words that can be spoken: numbers, money, dates, times, abbreviations (WeTextProcessing's rules)."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from valle.errors import UserError

_PLAIN = str.maketrans(
    {"“": "", "”": "", '"': "", "«": "", "»": "", "„": "", "’": "'", "‘": "'", "…": "...", "—": ", ", "–": ", "}
    | {mark: ", " for mark in "()[]{}"}
)
_UNSPEAKABLE = {"So", "Sk", "Cs", "Co", "Cn"}  # Unicode categories: emoji and other pictures, private use, unassigned
_INVISIBLE = {"Cc", "Cf", "Zl", "Zp"}  # control and format characters, line and paragraph separators


@cache
def _rules(language: str):
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn")


def normalize(text: str, language: str = "en-us") -> str:
    """One utterance as it is written -> as it is spoken, e.g. "Dr. Ng paid $3" -> "doctor Ng paid three dollars".

    Numbers and abbreviations are spelled out for English; for other languages espeak-ng reads them itself.

    Raises UserError when nothing is left to say, or when a character cannot be spoken in this language.
    """
    words = unicodedata.normalize("NFC", text).translate(_PLAIN)
    words = "".join(" " if unicodedata.category(c) in _INVISIBLE else c for c in words)
    words = re.sub(r"\s+", " ", words).strip()
    if language.startswith("en") and words:
        try:
            words = _rules("en").normalize(words)
        except (AssertionError, IndexError, KeyError, ValueError) as error:  # its grammar's own gaps, such as "0¢"
            raise UserError(
                f"text {_excerpt(text)}: its numbers or signs cannot be read; write them in words"
            ) from error
    words = re.sub(r"\s*([,;:])[\s,;:]*", r"\1 ", words)
    words = re.sub(r"([.?!])[\s,;:]*(?=[.?!])", r"\1", words)
    words = re.sub(r"\s+", " ", words).strip(" ,;:-")
    for character in words:
        if unicodedata.category(character) in _UNSPEAKABLE:
            name = unicodedata.name(character, f"U+{ord(character):04X}")
            raise UserError(
                f"text {_excerpt(text)}: {character!r} ({name.lower()}) cannot be spoken; write it in words"
            )
        foreign = character.isalpha() and not unicodedata.name(character, "").startswith("LATIN")
        if foreign and language.startswith("en"):
            raise UserError(
                f"text {_excerpt(text)}: the letter {character!r} is not read in {language}; "
                "give the text's own --language (and a model trained on it)"
            )
    if not any(character.isalnum() for character in words):
        raise UserError(f"text {_excerpt(text)}: holds nothing to say; give at least one word")
    return words


def _excerpt(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 40 else flat[:37] + "...")
