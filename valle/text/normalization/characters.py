"""Characters before words: Unicode forms, quotes and dashes, markup, and what cannot be spoken."""

from __future__ import annotations

import re
import unicodedata

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
        [
            "alpha",
            "beta",
            "gamma",
            "delta",
            "epsilon",
            "zeta",
            "eta",
            "theta",
            "iota",
            "kappa",
            "lambda",
            "mu",
            "nu",
            "xi",
            "omicron",
            "pi",
            "rho",
            "sigma",
            "tau",
            "upsilon",
            "phi",
            "chi",
            "psi",
            "omega",
        ],
        strict=True,
    )
)
_ALONE = re.compile(r"(?<![^\W\d_])([Α-Ωα-ω])(?![^\W\d_])")  # a Greek letter that stands for itself

_MARKUP = [
    (re.compile(r"</?[A-Za-z][^<>]*>"), ""),  # tags
    (re.compile(r"!?\[([^\[\]]+)\]\((?:https?://|/|#)[^()\s]*\)"), r"\1"),  # links: their text
    (re.compile(r"^[ \t]*#{1,6}[ \t]+", re.MULTILINE), ""),  # headings
    (re.compile(r"^[ \t]*[*+\-•][ \t]+(?=\S)", re.MULTILINE), ""),  # list items
    (re.compile(r"^[ \t]*>[ \t]+", re.MULTILINE), ""),  # quotations
    (re.compile(r"```\w*|`"), ""),
    (re.compile(r"(\*\*|__|~~)(?=\S)(.+?)(?<=\S)\1"), r"\2"),
    (re.compile(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=[^\s*])\*(?![\w*])"), r"\1"),
    (re.compile(r"(?<!\w)_(?=\S)([^_]+?)(?<=\S)_(?!\w)"), r"\1"),
]
_STAGE = re.compile(r"\[(?:[a-z]+|\d+)\]")  # [laughs], [1]
_REPEATED = re.compile(r"([A-Za-z])\1{2,}", re.IGNORECASE)
_UNSPEAKABLE = {"So", "Sk", "Cs", "Co", "Cn"}  # Unicode categories: emoji and other pictures, private use, unassigned
_SPEAKABLE = set("°©")
_JOINERS = {"\u200d", "\ufe0f", "\ufe0e", "\u20e3"}  # parts of emoji


def plain(text: str) -> tuple[str, list[str]]:
    """Reduce a text to plain characters.

    Returns:
        The text in composed form with plain quotes, dashes and letters, without markup; and what was left out because
        it cannot be spoken, each once.
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
    kept = []
    for c in text:
        unspeakable = unicodedata.category(c) in _UNSPEAKABLE and c not in _SPEAKABLE
        if unspeakable and c not in "^`":
            dropped.append(c)
        kept.append(" " if unspeakable and c != "^" else _base(c))
    text = _REPEATED.sub(lambda m: m[0] if m[0].lower() == "www" or _is_roman(m) else m[0][:2], "".join(kept))
    return re.sub(r"\s+", " ", text).strip(), list(dict.fromkeys(dropped))


def _is_roman(match: re.Match[str]) -> bool:
    """Whether the letters are part of a Roman numeral, such as VIII."""
    return match[1] in "IXCM" and len(match[0]) == 3


def _base(character: str) -> str:
    """Latin letters beyond what English texts borrow (é, ñ, ü, ...) without their marks: ẵ -> a."""
    character = character.translate(_LETTERS)
    if ord(character[0]) < 0x100 or unicodedata.category(character[0])[0] != "L":
        return character
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isascii() else character


def describe(found: str) -> str:
    """Name a character, or quote what is more than one."""
    if len(found) > 1:
        return repr(found)
    return f"{found!r} ({unicodedata.name(found, f'U+{ord(found):04X}').lower()})"
