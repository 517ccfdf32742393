"""Numbers to words: cardinals, ordinals, digits, years, decimals, fractions, Roman numerals (US English)."""

from __future__ import annotations

import re

from valle.text.normalization.rule import table

_SMALL = table("""
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen
    eighteen nineteen
""")
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ("thousand", "million", "billion", "trillion", "quadrillion", "quintillion")
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_ROMAN = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
_ROMAN_FORM = re.compile(r"M{0,3}(CM|CD|D?C{0,3})(XC|XL|L?X{0,3})(IX|IV|V?I{0,3})")
MAX_DIGITS = 3 * (len(SCALES) + 1)

# With or without commas and decimals.
NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"


def cardinal(number: int) -> str:
    """Return a cardinal: 1984 -> one thousand nine hundred eighty four; digits where it is too large for a name."""
    if number < 0:
        return f"minus {cardinal(-number)}"
    if number < 20:
        return _SMALL[number]
    if number < 100:
        return _TENS[number // 10] + (f" {_SMALL[number % 10]}" if number % 10 else "")
    if number < 1000:
        rest = f" {cardinal(number % 100)}" if number % 100 else ""
        return f"{_SMALL[number // 100]} hundred{rest}"
    for index, scale in reversed(list(enumerate(SCALES, 1))):
        unit = 1000**index
        if number >= unit:
            if number >= unit * 1000:
                break
            rest = f" {cardinal(number % unit)}" if number % unit else ""
            return f"{cardinal(number // unit)} {scale}{rest}"
    return digits(str(number))


def ordinal(number: int) -> str:
    """Return an ordinal: 21 -> twenty first."""
    head, _, last = cardinal(number).rpartition(" ")
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    return f"{head} {_ORDINALS.get(last, regular)}".strip()


def digits(text: str, zero: str = "zero") -> str:
    """Return the digits of a text one by one, without other characters: 90210 -> nine zero two one zero."""
    return " ".join(zero if c == "0" else _SMALL[int(c)] for c in text if c.isdigit())


def year(number: int) -> str:
    """Return a year: 1905 -> nineteen oh five, 2005 -> two thousand five, 2024 -> twenty twenty four."""
    if number < 1000 or number > 9999 or number % 1000 < 10:
        return cardinal(number)
    century, rest = divmod(number, 100)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def pair(number: int) -> str:
    """Return three digits as house numbers and flights are read: 370 -> three seventy, 101 -> one oh one."""
    hundreds, rest = divmod(number, 100)
    if not 1 <= hundreds <= 9 or rest == 0:
        return cardinal(number)
    return f"{_SMALL[hundreds]} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def number(text: str) -> str:
    """Return a written number with commas and decimals in words: 1,234.5 -> one thousand two hundred ... point five."""
    text = text.replace(",", "")
    whole, point, rest = text.partition(".")
    if not point:
        if len(whole) > MAX_DIGITS or (len(whole) > 1 and whole[0] == "0"):
            return digits(whole)
        return cardinal(int(whole))
    return f"{cardinal(int(whole)) + ' ' if whole else ''}point {digits(rest)}"


def plural(word: str) -> str:
    """Return the plural of a number word: eighty -> eighties, six -> sixes."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")


def fraction(numerator: int, denominator: int) -> str:
    """Return a fraction: 3/4 -> three quarters."""
    if denominator == 2:
        name = "half" if numerator == 1 else "halves"
    elif denominator == 4:
        name = "quarter" if numerator == 1 else "quarters"
    else:
        name = ordinal(denominator) + ("" if numerator == 1 else "s")
    return f"{cardinal(numerator)} {name}"


def roman(text: str) -> int | None:
    """Return the value of a Roman numeral in capitals; None for other text."""
    if not text or not _ROMAN_FORM.fullmatch(text):
        return None
    values = [_ROMAN[c] for c in text]
    return sum(-v if any(v < later for later in values[i + 1 : i + 2]) else v for i, v in enumerate(values))
