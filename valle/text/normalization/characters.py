"""Reduction to plain characters: Unicode forms, quotes and dashes, markup, unspeakable characters."""

from __future__ import annotations

import re
import unicodedata

from valle.text.normalization.rule import table

_SUPERSCRIPTS = {"²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5", "⁶": "^6", "⁷": "^7", "⁸": "^8", "⁹": "^9", "ⁿ": "^n"}
_FRACTIONS = {
    c: f" {unicodedata.normalize('NFKC', c).replace('⁄', '/')}" for c in "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅐⅛⅜⅝⅞⅑⅒"
}  # fmt: skip
_SIGNS = {
    "−": "-", "‐": "-", "‑": "-", "⁃": "-", "’": "'", "‘": "'", "ʼ": "'", "′": "'", "″": '"', "“": '"', "”": '"',
    "„": '"', "«": '"', "»": '"', "‹": '"', "›": '"', "…": "...", "№": "No. ", "℃": "°C", "℉": "°F", "™": "",
    "®": "", "℠": "", "•": ", ", "·": " ", "¿": "", "¡": "", "µ": "μ", "Ω": "ohm", "º": "°", "⁄": "/", "∶": ":",
}  # fmt: skip
_TABLE = str.maketrans(_SUPERSCRIPTS | _FRACTIONS | _SIGNS)
_LETTERS = str.maketrans({"Đ": "D", "đ": "d", "Ł": "L", "ł": "l", "Ħ": "H", "ħ": "h", "ı": "i", "ȷ": "j"})
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρστυφχψω",
        table("""
            alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigma tau
            upsilon phi chi psi omega
        """),
        strict=True,
    )
)
# A Greek letter by itself.
_ALONE = re.compile(r"(?<![^\W\d_])([Α-Ωα-ω])(?![^\W\d_])")

_MARKUP = [
    # Tags.
    (re.compile(r"</?[A-Za-z][^<>]*>"), ""),
    # Links, of which the text remains.
    (re.compile(r"!?\[([^\[\]]+)\]\((?:https?://|/|#)[^()\s]*\)"), r"\1"),
    # Headings, list items and quotations.
    (re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*[*+\-•][ \t]+(?=\S)", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*>[ \t]+", re.MULTILINE), ""),
    # Code and emphasis.
    (re.compile(r"```\w*|`"), ""),
    (re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)"), r"\1"),
]
# Stage directions and references: [laughs], [1].
_STAGE = re.compile(r"\[(?:[a-z]+|\d+)\]")
_REPEATED = re.compile(r"([A-Za-z])\1{2,}", re.IGNORECASE)
# Unicode categories: emoji and other pictures, modifiers, surrogates, private use, unassigned.
_UNSPEAKABLE = {"So", "Sk", "Cs", "Co", "Cn"}
_SPEAKABLE = set("°©")
# Parts of emoji.
_JOINERS = {"\u200d", "\ufe0f", "\ufe0e", "\u20e3"}


def plain(text: str) -> tuple[str, list[str]]:
    """Reduce a text to plain characters.

    Returns:
        The text in composed form with plain quotes, dashes and letters, without markup; and the distinct unspeakable
        parts that were left out.
    """
    dropped: list[str] = []
    text = unicodedata.normalize("NFC", text).translate(_TABLE)
    text = unicodedata.normalize("NFKC", text)
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") and c != "\n" else c for c in text)
    text = "".join(c for c in text if unicodedata.category(c) != "Cf" and c not in _JOINERS)
    for pattern, replacement in _MARKUP:
        text = pattern.sub(replacement, text)
    dropped += _STAGE.findall(text)
    text = _STAGE.sub(" ", text)
    text = re.sub(r"(?<=[\w%°]) ?[–—] ?(?=[$€£]?\d)", "-", text) if re.search(r"\d ?[–—]", text) else text
    text = re.sub(r"\s*\n\s*\n\s*", ". ", text.strip()) if "\n\n" in text else text
    text = _ALONE.sub(lambda m: f" {_GREEK.get(m[1].lower(), m[1])} " if m[1] != "μ" else m[1], text)
    characters = []
    for c in text:
        unspeakable = unicodedata.category(c) in _UNSPEAKABLE and c not in _SPEAKABLE
        if unspeakable and c not in "^`":
            dropped.append(c)
        characters.append(" " if unspeakable and c != "^" else _base(c))
    text = _REPEATED.sub(lambda m: m[0] if m[0].lower() == "www" or _is_roman(m) else m[0][:2], "".join(characters))
    return re.sub(r"\s+", " ", text).strip(), list(dict.fromkeys(dropped))


def _is_roman(match: re.Match[str]) -> bool:
    """Whether the letters are part of a Roman numeral, such as VIII."""
    return match[1] in "IXCM" and len(match[0]) == 3


def _base(character: str) -> str:
    """Remove the marks of Latin letters that are rare in English texts: ẵ -> a, but not é, ñ or ü."""
    character = character.translate(_LETTERS)
    if ord(character[0]) < 0x100 or unicodedata.category(character[0])[0] != "L":
        return character
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character


def describe(part: str) -> str:
    """Quote a part of a text; a single character with its Unicode name."""
    if len(part) > 1:
        return repr(part)
    return f"{part!r} ({unicodedata.name(part, f'U+{ord(part):04X}').lower()})"
