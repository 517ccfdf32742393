"""Written text to words that can be spoken, class by class (US English); docs/text.md lists the classes with examples.

Digits that no class reads are left to the rules of WeTextProcessing.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import Any

from valle.errors import UserError, warn_user
from valle.text.normalization import abbreviations, characters, dates, electronic, mathematics, measures, money, serial
from valle.text.normalization.rule import apply

# The order matters: a date would also match as a fraction, a measure as a number.
_CLASSES = (
    abbreviations.TITLE_RULES,
    serial.CODES,
    electronic.RULES,
    mathematics.PREFIXES,
    money.RULES,
    dates.RULES,
    measures.DIMENSIONS,
    measures.RULES,
    serial.NAMES,
    abbreviations.RULES,
    mathematics.RULES,
)
_SIGNS = {"%": " percent ", "©": " copyright ", "°": " degrees ", "§": " section ", "&": " and ", "€": " euros ",
          "£": " pounds ", "¥": " yen ", "¢": " cents ", "₹": " rupees "}  # fmt: skip
_LEFT_OUT = set("~^|\\_<>*#@`=+×÷±√∞≤≥≠≈→←↑↓/$")
_BRACKETS = str.maketrans({mark: ", " for mark in "()[]{}"} | {'"': "", "–": ", ", "—": ", "})


class TextWarning(UserWarning):
    """A part of a text cannot be spoken and is left out."""


@cache
def _wetext(language: str) -> Any:
    from wetext import Normalizer

    return Normalizer(lang=language, operator="tn")


def normalize(text: str, language: str = "en-us", strict: bool = False, quiet: bool = False) -> str:
    """Convert a written utterance to words, for example "Dr. Ng paid $3" to "Doctor Ng paid three dollars".

    Numbers, signs and abbreviations are written out for English; espeak-ng reads those of other languages itself. Emoji,
    markup and stray signs cannot be spoken and are left out.

    Args:
        text: Any text; line breaks are read as spaces.
        language: Language tag of espeak-ng.
        strict: Whether an unspeakable part is an error.
        quiet: Whether parts are left out without a warning.

    Returns:
        Words with punctuation.

    Raises:
        UserError: No word is left, a letter belongs to a script that the language does not use, or with `strict` a part
            is unspeakable.

    Warns:
        TextWarning: Parts were left out; one warning names them all.
    """
    words, dropped = characters.plain(text)
    if language.startswith("en"):
        _check_script(text, words, language)
        words, more = _english(words)
        dropped += more
    words = _punctuated(words)
    if not any(character.isalnum() for character in words):
        raise UserError(f"text {_excerpt(text)}: holds nothing to say; give at least one word")
    if dropped and not (quiet and not strict):
        names = ", ".join(dict.fromkeys(map(characters.describe, dropped)))
        if strict:
            raise UserError(f"text {_excerpt(text)}: {names} cannot be spoken; write it in words")
        warn_user(f"text {_excerpt(text)}: {names} cannot be spoken and is left out", TextWarning)
    return words


def _english(words: str) -> tuple[str, list[str]]:
    """Apply all classes; returns the words, and the signs that were left out."""
    words = abbreviations.lower_capitals(words)
    for rules in _CLASSES:
        words = apply(rules, words)
    for sign, name in _SIGNS.items():
        words = words.replace(sign, name)
    dropped = [c for c in words if c in _LEFT_OUT]
    words = "".join(" " if c in _LEFT_OUT else c for c in words).translate(_BRACKETS)
    if any(c.isdigit() for c in words):
        words = _wetext("en").normalize(words)
    return words, dropped


def _punctuated(words: str) -> str:
    """Reduce spaces and punctuation to single ones."""
    words = words.translate(_BRACKETS)
    words = re.sub(r"\s-+\s|--+", ", ", words)
    words = re.sub(r"(?<=[A-Za-z])-(?=[A-Za-z])", "-", words)
    words = re.sub(r"(?<!\w)-|-(?!\w)", " ", words)
    words = re.sub(r"(?<!\w)'(?=\s|$)|(?<=\s)'(?=\s)", "", words)
    words = re.sub(r"\s+([,;:.?!])", r"\1", words)
    words = re.sub(r"\s*([,;:])[\s,;:]*", r"\1 ", words)
    words = re.sub(r"([.?!])[\s,;:]*(?=[.?!])", r"\1", words)
    words = re.sub(r"([.?!])\s*[,;:]+", r"\1 ", words)
    words = re.sub(r"[,;:]\s*(?=[.?!])", "", words)
    words = re.sub(r"(?<=[.?!])(?=[A-Za-z])", " ", words)
    return re.sub(r"\s+", " ", words).strip(" ,;:-")


def _check_script(text: str, words: str, language: str) -> None:
    """Raise UserError for a letter that is not Latin. A micro sign is left to the measures."""
    for character in words:
        if character.isalpha() and not unicodedata.name(character, "").startswith("LATIN") and character not in "μ":
            raise UserError(
                f"text {_excerpt(text)}: the letter {character!r} cannot be read in {language}; "
                "give the text's own --language (and a model trained on it)"
            )


def _excerpt(text: str) -> str:
    """The beginning of a text, quoted for a message."""
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 40 else flat[:37] + "...")
