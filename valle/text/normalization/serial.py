"""Telephone numbers, postal codes, card numbers and other serial numbers, and names with numbers in them."""

from __future__ import annotations

import re

from valle.text.normalization.numbers import cardinal, digits, number, ordinal, pair, year
from valle.text.normalization.rule import Rule, choice, table

STATES = table("""
    AL AK AZ AR CA CO CT DE FL GA HI ID IL IN IA KS KY LA ME MD MA MI MN MS MO MT NE NV NH NJ NM NY NC ND OH OK OR
    PA RI SC SD TN TX UT VT VA WA WV WI WY DC
""")
_EXTENSION = r"(?:,? ?(?:ext\.?|x|extension) ?(?P<ext>\d{1,6}))?"
_BEFORE = r"(?<![\w.,$€£/-])"


def groups(text: str) -> str:
    """Return digits group by group: (416) 555-0192 -> four one six, five five five, oh one nine two."""
    return ", ".join(digits(group, "oh") for group in re.findall(r"\d+", text))


def _telephone(match: re.Match[str]) -> str:
    """A telephone number with its extension; 800 is read as eight hundred."""
    text = match["number"]
    plus = "plus " if text.startswith("+") else ""
    area = re.match(r"\+?1?[ -.]*\(?800\)?", text)
    words = plus + groups(text)
    if area and "800" in area[0]:
        words = words.replace("eight oh oh", "eight hundred", 1)
    return words + (f", extension {digits(match['ext'], 'oh')}" if match.groupdict().get("ext") else "")


def _name(match: re.Match[str]) -> str:
    """A name and the number after it: B-52, Boeing 747, Room 101, Highway 66."""
    text = match["number"]
    if len(text) == 3:
        words = pair(int(text)) if text[0] != "0" else digits(text, "oh")
    elif len(text) == 4:
        words = _four(text)
    elif (len(text) == 2 and text[0] == "0") or len(text) > 4:
        words = digits(text, "oh")
    else:
        words = cardinal(int(text))
    return f"{match['name']} {words}"


def _four(text: str) -> str:
    """Four digits as the number of a product is read: 5000 -> five thousand, 1903 -> nineteen oh three."""
    if text[0] == "0":
        return digits(text, "oh")
    if text.endswith("000"):
        return cardinal(int(text))
    return year(int(text)) if int(text) % 1000 >= 10 else cardinal(int(text))


def _mixed(match: re.Match[str]) -> str:
    """Letters and digits in one: MP3, H2O, 4K, A4, iPhone15."""
    pieces = re.findall(r"[A-Za-z]+|\d+", match[0])
    words = []
    for piece in pieces:
        if piece.isalpha():
            words.append(piece if len(piece) > 1 or piece.isupper() else piece.upper())
        elif len(piece) <= 2 and (len(piece) == 1 or piece[0] != "0"):
            words.append(cardinal(int(piece)))
        elif len(piece) == 3 and piece[0] != "0":
            words.append(pair(int(piece)))
        elif len(piece) == 4 and piece[0] != "0":
            words.append(_four(piece))
        else:
            words.append(digits(piece, "oh"))
    return " ".join(words)


_NUMBERED = table("""
    Room Suite Apartment Apt Unit Flight Highway Route Interstate Boeing Airbus Bus Channel Flat Gate Exit Building
    Area Pier Train Studio District Precinct Porsche Windows Xbox Nikon Canon
""")
CODES: list[Rule] = [
    # Card numbers and social security numbers.
    Rule(_BEFORE + r"(\d{4})([ -])(\d{4})\2(\d{4})\2(\d{4})(?![\w-])",
         lambda m: ", ".join(digits(m[i]) for i in (1, 3, 4, 5))),
    Rule(_BEFORE + r"(\d{4})([ -])(\d{6})\2(\d{5})(?![\w-])", lambda m: ", ".join(digits(m[i]) for i in (1, 3, 4))),
    Rule(_BEFORE + r"\d{3}-\d{2}-\d{4}(?![\w-])", lambda m: ", ".join(digits(part) for part in m[0].split("-"))),
    Rule(r"(?<!\w)(ISBN(?:-1[03])?:?) ?((?:97[89][ -]?)?(?:\d[ -]?){9}[\dX])(?!\w)",
         lambda m: f"{m[1].partition('-')[0].rstrip(':')} {digits(m[2])}{' X' if m[2].endswith('X') else ''}"),
    # Telephone numbers.
    Rule(_BEFORE + r"(?P<number>\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,5})(?!\w)" + _EXTENSION, _telephone),
    Rule(_BEFORE + r"(?P<number>(?:1[ .-])?\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])" + _EXTENSION, _telephone),
    Rule(_BEFORE + r"(?P<number>1-\d{3}-\d{3}-\d{4}|\d{3}-\d{4})(?![\w-])" + _EXTENSION, _telephone),
    Rule(_BEFORE + r"(?P<number>0\d{2,4} \d{3,4} ?\d{3,4})(?![\w-])", _telephone),
    Rule(r"(?<!\w)(1-8\d\d)-([A-Z]{2,}(?:-[A-Z]+)*)(?!\w)",
         lambda m: f"one, eight hundred, {m[2].replace('-', ' ').lower()}" if m[1].endswith("00") else m[0]),
    Rule(r"(?<!\w)(ext\.?|x) ?(\d{2,6})(?!\w)", lambda m: f"extension {digits(m[2], 'oh')}" if m[1] != "x" else m[0]),
    Rule(r"(?<=\bdial )(911|411|311|988)(?!\w)|(?<=\bcall )(911|411|311|988)(?!\w)|(?<!\w)911(?= (?:call|operator|emergency|dispatcher))",
         lambda m: digits(m[0])),
    # Postal codes: after a state, after a capitalized name, or alone.
    Rule(rf"(?<=\b)({choice(STATES)}) (\d{{5}})(?:-(\d{{4}}))?(?!\w)",
         lambda m: f"{m[1]} {digits(m[2], 'oh')}" + (f", {digits(m[3], 'oh')}" if m[3] else "")),
    Rule(r"\b((?:code|zip)(?: is|:)? )(\d{5})(?:-(\d{4}))?(?!\w)",
         lambda m: m[1] + digits(m[2], "oh") + (f", {digits(m[3], 'oh')}" if m[3] else ""), re.IGNORECASE),
    Rule(r"^\d{5}$", lambda m: digits(m[0], "oh")),
    Rule(r"\b([A-Z][a-z]+,? )(\d{5})(?=[.,;!?]|$| [A-Z])", lambda m: f"{m[1]}{digits(m[2], 'oh')}"),
]  # fmt: skip
NAMES: list[Rule] = [
    Rule(rf"\b(?P<name>{choice(_NUMBERED)}) (?:#|No\. ?)?(?P<number>\d{{2,4}})(?![\w,]|[.:]\d)", _name, re.IGNORECASE),
    Rule(r"(?<![\w-])(?P<name>[A-Z]{1,5})-(?P<number>\d{1,4})(?![\w.]*\d)", _name),
    Rule(r"(?<![\w-])(?P<name>[A-Za-z]{3,})-(?P<number>\d{1,4})(?![\w-]|\.\d)", _name),
    Rule(r"(?<![\w.])(\d+)(st|nd|rd|th)(?!\w)", lambda m: ordinal(int(m[1]))),
    Rule(r"(?<![\w.])(\d{1,3}(?:,\d{3})+)(st|nd|rd|th)(?!\w)", lambda m: ordinal(int(m[1].replace(",", "")))),
    Rule(r"(?<![\w.])(1080|720|480|2160|1440|360)([pi])(?!\w)",
         lambda m: f"{'ten eighty' if m[1] == '1080' else pair(int(m[1])) if len(m[1]) == 3 else year(int(m[1]))} {m[2].upper()}"),
    Rule(r"(?<![\w.,])(\d+(?:\.\d+)?)M(?!\w)", lambda m: f"{number(m[1])} million"),
    Rule(r"(?<![\w.,])(\d+\.\d+)[kK](?!\w)", lambda m: f"{number(m[1])} thousand"),
    Rule(r"(?<![\w.,])(\d+(?:\.\d+)?)x(?!\w)", lambda m: f"{number(m[1])} times"),
    Rule(r"(?<![\w.,'])(?=[A-Za-z]*\d)(?=\d*[A-Za-z])[A-Za-z\d]+(?![\w'])", _mixed),
]  # fmt: skip
