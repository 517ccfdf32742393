"""Mathematics and plain numbers: fractions, ranges, ratios, powers, signs between numbers, cardinals and decimals."""

from __future__ import annotations

import re

from valle.text.normalization.money import LARGE
from valle.text.normalization.numbers import NUMBER, cardinal, fraction, number
from valle.text.normalization.rule import Rule

_OPERATORS = {
    "+": "plus", "=": "equals", "×": "times", "*": "times", "÷": "divided by", "±": "plus or minus", "<": "less than",
    ">": "greater than", "≤": "less than or equal to", "≥": "greater than or equal to", "≠": "is not equal to",
    "≈": "is approximately equal to", "→": "to", "<=": "less than or equal to", ">=": "greater than or equal to",
    "!=": "is not equal to", "==": "equals", "+/-": "plus or minus",
}  # fmt: skip
_ALONE = {"√": "square root of ", "∞": "infinity", "∑": "sum of ", "∫": "integral of ", "∆": "delta ", "∂": "partial "}
_OPERAND = r"[\w)\]°%]"
_NAMED = {"9/11": "nine eleven", "24/7": "twenty four seven", "50/50": "fifty fifty", "20/20": "twenty twenty",
          "7/11": "seven eleven", "24/7/365": "twenty four seven three sixty five", "1/1": "one over one"}  # fmt: skip


def _power(match: re.Match[str]) -> str:
    """x^2 -> x squared, 10^5 -> 10 to the power of five."""
    base, exponent = match[1], match[2].strip("{}()")
    if exponent == "2":
        words = "squared"
    elif exponent == "3":
        words = "cubed"
    elif exponent.lstrip("-").isdigit():
        sign = "minus " if exponent.startswith("-") else ""
        words = f"to the power of {sign}{cardinal(int(exponent.lstrip('-')))}"
    else:
        words = f"to the power of {exponent}"
    return f"{base} {words}"


def _fraction(match: re.Match[str]) -> str:
    """3/4 -> three quarters, 5/2 -> five over two, 3/3 -> three out of three."""
    if match[0] in _NAMED:
        return _NAMED[match[0]]
    numerator, denominator = int(match[1]), int(match[2])
    if denominator < 2 or denominator > 100 or numerator > denominator:
        return f"{number(match[1])} over {number(match[2])}"
    if numerator == denominator:
        return f"{cardinal(numerator)} out of {cardinal(denominator)}"
    return fraction(numerator, denominator)


def _range(match: re.Match[str]) -> str:
    """5-7 -> five to seven."""
    return f"{number(match[1])} to {number(match[2])}"


def _scaled(match: re.Match[str]) -> str:
    """5k -> five thousand."""
    return f"{number(match[1])} {LARGE[match[2]]}"


# Signs before a number, which later rules read.
PREFIXES: list[Rule] = [
    Rule(r"(?<!\w)(\+/-|[±]|<=|>=|[≤≥<>]) ?(?=\d)", lambda m: f"{_OPERATORS[m[1]]} "),
    Rule(r"(?<![\w~])[~≈] ?(?=[\d$€£.])", "approximately "),
]
RULES: list[Rule] = [
    Rule(r"(?<![\w/.])24/7/365(?![\w/])", _NAMED["24/7/365"]),
    Rule(r"([A-Za-z]|\d+(?:\.\d+)?|\))\^(\{?\(?-?\w+\)?\}?)", _power),
    Rule(r"(?<![\w/.,])(\d+)/(\d+)(?:ths?|rds?)?(?![\w/]|[.,]\d)", _fraction),
    Rule(rf"(?<=[\w)%°]) ?(\+/-|<=|>=|!=|==|[±×÷≤≥≠≈]) ?(?={_OPERAND}|[-(])", lambda m: f" {_OPERATORS[m[1]]} "),
    Rule(rf"(?<={_OPERAND}) ([+=<>*]) (?={_OPERAND}|[-($])", lambda m: f" {_OPERATORS[m[1]]} "),
    Rule(r"(?<=[\d)])([+=*])(?=[\d(])", lambda m: f" {_OPERATORS[m[1]]} "),
    Rule(r"(?<=\b[A-Za-z])([+=*])(?=[A-Za-z\d]\b)", lambda m: f" {_OPERATORS[m[1]]} "),
    Rule(r"(?<=\d) (-) (?=\d+(?:\.\d+)? (?:=|equals))", " minus "),
    Rule(r"(?<=[a-z]) - (?=\d+ (?:=|equals))", " minus "),
    Rule(r"[√∞∑∫∆∂]", lambda m: f" {_ALONE[m[0]]}"),
    Rule(r"(?<![\w)])\+ ?(?=\d)", "plus "),
    Rule(rf"(?<![\w.,])({NUMBER}) ?[x×](?=[.,;!?]|$| (?!\d))", lambda m: f"{number(m[1])} times"),
    Rule(rf"(?<![\w.,-])({NUMBER}) ?-+ ?({NUMBER})(?![\w-]|[.,]\d)", _range),
    Rule(r"(?<![\w.,:])(\d+):(\d+)(?::(\d+))?(?![\w:])",
         lambda m: " to ".join(number(part) for part in m.groups() if part)),
    Rule(rf"(?<![\w.,])({NUMBER}) ?(k|K|M|B|bn|mn)(?!\w)", _scaled),
    Rule(rf"(?<![\w.,)-])- ?(?={NUMBER})", "minus "),
    Rule(rf"(?<![\w.,])({NUMBER})\+(?!\w)", lambda m: f"{number(m[1])} plus"),
    Rule(rf"(?<![\w.])({NUMBER})(?:'s)?(?![\w]|,\d)",
         lambda m: number(m[1]) + ("'s" if m[0].endswith("s") else "")),
    Rule(r"\d+", lambda m: f" {number(m[0])} " ),
]  # fmt: skip
