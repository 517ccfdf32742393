"""Money: currency signs and codes with amounts, cents, large amounts, ranges, and amounts per unit."""

from __future__ import annotations

import re
from dataclasses import dataclass

from valle.text.normalization.numbers import NUMBER, cardinal, number
from valle.text.normalization.rule import Rule, choice


@dataclass(frozen=True)
class Currency:
    """Names of a currency and its hundredth.

    Attributes:
        one: Singular.
        many: Plural.
        cent: Singular of the hundredth.
        cents: Plural of the hundredth.
    """

    one: str
    many: str
    cent: str = "cent"
    cents: str = "cents"


DOLLAR = Currency("dollar", "dollars")
SIGNS = {
    "$": DOLLAR,
    "US$": Currency("US dollar", "US dollars"),
    "C$": Currency("Canadian dollar", "Canadian dollars"),
    "CA$": Currency("Canadian dollar", "Canadian dollars"),
    "A$": Currency("Australian dollar", "Australian dollars"),
    "AU$": Currency("Australian dollar", "Australian dollars"),
    "NZ$": Currency("New Zealand dollar", "New Zealand dollars"),
    "HK$": Currency("Hong Kong dollar", "Hong Kong dollars"),
    "€": Currency("euro", "euros"),
    "£": Currency("pound", "pounds", "penny", "pence"),
    "¥": Currency("yen", "yen", "sen", "sen"),
    "₹": Currency("rupee", "rupees", "paisa", "paise"),
    "₩": Currency("won", "won", "jeon", "jeon"),
    "₽": Currency("ruble", "rubles", "kopeck", "kopecks"),
    "₿": Currency("bitcoin", "bitcoins"),
    "₺": Currency("lira", "liras", "kurus", "kurus"),
    "₪": Currency("shekel", "shekels", "agora", "agorot"),
    "R$": Currency("real", "reals"),
}
CODES = {
    "USD": SIGNS["US$"], "EUR": SIGNS["€"], "GBP": SIGNS["£"], "JPY": SIGNS["¥"], "INR": SIGNS["₹"],
    "CAD": SIGNS["C$"], "AUD": SIGNS["A$"], "CHF": Currency("Swiss franc", "Swiss francs"),
    "CNY": Currency("yuan", "yuan"), "BTC": SIGNS["₿"],
}  # fmt: skip
LARGE = {
    "k": "thousand", "K": "thousand", "M": "million", "m": "million", "mn": "million", "MM": "million", "B": "billion",
    "b": "billion", "bn": "billion", "T": "trillion", "tn": "trillion",
}  # fmt: skip
PER = {
    "mo": "month", "month": "month", "yr": "year", "year": "year", "hr": "hour", "h": "hour", "hour": "hour",
    "day": "day", "wk": "week", "week": "week", "person": "person", "night": "night", "lb": "pound", "kg": "kilogram",
    "gal": "gallon", "oz": "ounce", "mile": "mile", "unit": "unit", "user": "user", "ea": "each", "min": "minute",
    "sq ft": "square foot", "gallon": "gallon", "pound": "pound",
}  # fmt: skip
_SCALE = r"(?: ?-?(?P<word>hundred|thousand|million|billion|trillion)s?\b|(?P<large>mn|bn|tn|MM|[kKMmBbT])(?![A-Za-z]))"
_SIGN = choice(SIGNS)


def amount(text: str, currency: Currency, scale: str = "") -> str:
    """Return an amount in words.

    Args:
        text: The number, e.g. 20.50 (twenty dollars and fifty cents).
        currency: Its currency.
        scale: A word after the number, e.g. million (three point five million dollars).
    """
    text = text.replace(",", "")
    if scale:
        return f"{number(text)} {scale} {currency.many}"
    whole, _, rest = text.partition(".")
    if len(rest) not in (0, 1, 2):
        return f"{number(text)} {currency.many}"
    units = int(whole or 0)
    hundredths = int((rest + "00")[:2])
    words = f"{number(whole or '0')} {currency.one if units == 1 else currency.many}"
    cents = f"{cardinal(hundredths)} {currency.cent if hundredths == 1 else currency.cents}"
    if not hundredths:
        return words
    return cents if not units else f"{words} and {cents}"


def _scale(match: re.Match[str]) -> str:
    """The word for a large number after an amount; empty for none."""
    return match["word"] or LARGE.get(match["large"] or "", "")


def _minus(match: re.Match[str]) -> str:
    """The sign of an amount."""
    return "minus " if match["minus"] else ""


def _after(match: re.Match[str]) -> str:
    """Amount before the sign: 27,50 €, 5€, 100 USD."""
    text = match["number"]
    if re.fullmatch(r"\d+,\d\d", text):
        text = text.replace(",", ".")
    sign = match["sign"]
    return _minus(match) + amount(text, SIGNS.get(sign) or CODES[sign], _scale(match))


def _range(match: re.Match[str]) -> str:
    """$5-$7 -> five to seven dollars."""
    currency = SIGNS[match["sign"]]
    last = amount(match["last"], currency, _scale(match))
    first = match["first"]
    words = amount(first, currency) if "." in first else number(first)
    return f"{words} to {last}"


RULES: list[Rule] = [
    Rule(rf"(?<!\w)(?P<sign>{_SIGN}) ?(?P<first>{NUMBER}) ?(?:-|to) ?(?:{_SIGN}) ?(?P<last>{NUMBER})"
         rf"(?:{_SCALE})?(?![\w-])", _range),
    Rule(rf"(?<!\w)(?P<sign>{_SIGN}) ?(?P<first>{NUMBER})-(?P<last>{NUMBER})(?:{_SCALE})?(?![\w-])", _range),
    Rule(rf"(?<!\w)(?P<minus>-)?(?P<sign>{_SIGN}) ?(?P<number>{NUMBER})(?:{_SCALE})?(?!\d)",
         lambda m: _minus(m) + amount(m["number"], SIGNS[m["sign"]], _scale(m))),
    Rule(rf"(?<![\w.,])(?P<minus>-)?(?P<number>\d+,\d\d(?!\d)|{NUMBER})(?:{_SCALE})? ?(?P<sign>{choice(s for s in SIGNS if len(s) == 1)})"
         r"(?!\w)", _after),
    Rule(rf"(?<![\w.,])(?P<minus>-)?(?P<number>{NUMBER})(?:{_SCALE})? ?(?P<sign>{choice(CODES)})(?!\w)", _after),
    Rule(rf"(?<!\w)(?P<minus>-)?(?P<sign>{choice(CODES)}) ?(?P<number>{NUMBER})(?:{_SCALE})?(?!\w)", _after),
    Rule(rf"(?<![\w.,])({NUMBER}) ?(?:¢|c(?=/))",
         lambda m: f"{number(m[1])} {'cent' if m[1] == '1' else 'cents'}"),
    Rule(rf"\b(dollars?|euros?|pounds?|cents?|pence) ?/ ?({choice(PER)})\b\.?",
         lambda m: f"{m[1]} each" if PER[m[2]] == "each" else f"{m[1]} per {PER[m[2]]}"),
]  # fmt: skip
