"""Dates and times of day, years, decades and centuries (US English: month before day)."""

from __future__ import annotations

import re

from valle.text.normalization.numbers import cardinal, ordinal, plural, year
from valle.text.normalization.rule import Rule, table

MONTHS = table("""
    January February March April May June July August September October November December
""")
_SHORT = {m[:3]: m for m in MONTHS} | {"Sept": "September"}
DAYS = {
    "Mon": "Monday", "Tue": "Tuesday", "Tues": "Tuesday", "Wed": "Wednesday", "Thu": "Thursday", "Thur": "Thursday",
    "Thurs": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday",
}  # fmt: skip
_FULL = "|".join(MONTHS)
_ABBREVIATED = "|".join(sorted(set(_SHORT) - {"May"}, key=len, reverse=True))
_MONTH = rf"(?:{_FULL}|(?:{_ABBREVIATED})\b\.?)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_YEAR = r"(?:1\d{3}|20\d{2})"
_ERA = r"(?:BCE|BC|CE|AD|B\.C\.E\.|B\.C\.|C\.E\.|A\.D\.)"
_ZONES = r"(?: ?(?:EST|EDT|CST|CDT|MST|MDT|PST|PDT|GMT|UTC|ET|PT|CET)\b)?"


def _month(text: str) -> str:
    """Name of a month that may be abbreviated."""
    return _SHORT.get(text.rstrip("."), text)


def _month_day(match: re.Match[str]) -> str:
    """Jan. 5-7, 2024 -> January fifth to seventh, twenty twenty four."""
    words = f"{_month(match['month'])} {ordinal(int(match['day']))}"
    if match["to"]:
        words += f" to {ordinal(int(match['to']))}"
    if match["year"]:
        words += f" {year(int(match['year']))}" if not match["comma"] else f", {year(int(match['year']))}"
    return words


def _day_month(match: re.Match[str]) -> str:
    """5 January 2024 -> the fifth of January twenty twenty four."""
    words = f"{match['the'] or 'the '}{ordinal(int(match['day']))} of {_month(match['month'])}"
    return words + (f" {year(int(match['year']))}" if match["year"] else "")


def _numeric(month: str, day: str, text: str, other: str) -> str:
    """11/17/05 -> November seventeenth two thousand five; `other` where it is no date."""
    m, d = int(month), int(day)
    if m > 12 >= d:
        m, d = d, m
    if not 1 <= m <= 12 or not 1 <= d <= 31:
        return other
    number = int(text)
    if len(text) == 2:
        number += 2000 if number < 50 else 1900
    return f"{MONTHS[m - 1]} {ordinal(d)} {year(number)}"


def decade(text: str) -> str:
    """Return a decade in words: 1980 -> nineteen eighties, 80 -> eighties, 2000 -> two thousands."""
    head, _, last = (year(int(text)) if len(text) == 4 else cardinal(int(text))).rpartition(" ")
    return f"{head} {plural(last)}".strip()


def _half(text: str | None) -> str:
    """AM or PM."""
    return f" {text[0].upper()}M" if text else ""


def clock(hour: str, minute: str, half: str | None) -> str:
    """Return a time of day in words: 3:05 p.m. -> three oh five PM, 12:00 -> twelve o'clock."""
    h, m = int(hour), int(minute)
    if m == 0:
        if half:
            return cardinal(h) + _half(half)
        return f"{cardinal(h)} o'clock" if 1 <= h <= 12 else f"{cardinal(h)} hundred hours" if h else "midnight"
    return f"{cardinal(h)} {'oh ' if m < 10 else ''}{cardinal(m)}{_half(half)}"


def _time(match: re.Match[str]) -> str:
    """3:05:10 p.m. -> three oh five PM and ten seconds."""
    if int(match["hour"]) > 23 or int(match["minute"]) > 59:
        return match[0]
    words = clock(match["hour"], match["minute"], match["half"])
    if match["second"]:
        words = words.replace(" o'clock", "") + f" and {cardinal(int(match['second']))} seconds"
    return words + _stop(match)


def _stop(match: re.Match[str]) -> str:
    """The period of `p.m.` that also ends a sentence."""
    return "." if match[0].endswith(".") and re.match(r"\s*$|\s+[A-Z\"]", match.string[match.end() :]) else ""


def _hours(match: re.Match[str]) -> str:
    """3-5 p.m. -> three to five PM."""
    if not 1 <= int(match["hour"]) <= 12:
        return match[0]
    to = match["to"]
    first = f"{cardinal(int(match['hour']))}"
    if to:
        h, _, m = to.partition(":")
        first += f" to {clock(h, m or '0', match['half'])}"
        return first + _stop(match)
    return first + _half(match["half"]) + _stop(match)


def _time_range(match: re.Match[str]) -> str:
    """3:05-4:10 p.m. -> three oh five to four ten PM."""
    first = clock(match["hour"], match["minute"], match["first"])
    last = clock(match["h2"], match["m2"] or "0", match["half"])
    if match["minute"] == "00" and not match["first"]:
        first = cardinal(int(match["hour"]))
    if not match["half"]:
        last = last.replace(" o'clock", "")
    return f"{first} to {last}{_stop(match)}"


_HALF = r"(?P<half>[aApP])\.? ?[mM](?![a-zA-Z])\.?"
RULES: list[Rule] = [
    Rule(rf"(?<![\w./-]){_YEAR}([-/.])(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?:T(?=\d))?(?![\d-])",
         lambda m: f"{MONTHS[int(m[0][5:7]) - 1]} {ordinal(int(m[0][8:10]))} {year(int(m[0][:4]))}"
         + (" at " if m[0].endswith("T") else "")),
    Rule(rf"(?<![\w./-])(\d{{1,2}})([/.-])(\d{{1,2}})\2({_YEAR}|\d{{2}})(?![\d/.-]*\d)",
         lambda m: _numeric(m[1], m[3], m[4], m[0])),
    Rule(rf"(?<!\w)(?:{'|'.join(DAYS)})\.?(?=,? (?:{_MONTH}|\d))", lambda m: DAYS[m[0].rstrip('.')]),
    Rule(rf"(?<!\w)(?P<month>{_MONTH}) (?P<day>{_DAY})(?:st|nd|rd|th)?(?:-(?P<to>{_DAY})(?:st|nd|rd|th)?)?"
         rf"(?:(?P<comma>,)? (?P<year>{_YEAR})(?!\w))?(?![\w:]|[.,]\d|%| ?(?:percent|times|miles|people|years)\b)",
         _month_day),
    Rule(rf"(?<!\w)(?P<the>[Tt]he )?(?P<day>{_DAY})(?:st|nd|rd|th)? (?:of )?(?P<month>{_MONTH})"
         rf"(?:,? (?P<year>{_YEAR})(?!\w))?(?![\w])", _day_month),
    Rule(rf"(?<!\w)(?P<month>{_MONTH}),? (?P<year>{_YEAR})(?!\w)",
         lambda m: f"{_month(m['month'])} {year(int(m['year']))}"),
    Rule(rf"(?<!\w)(?:{_ABBREVIATED})\.(?= [a-z\d])", lambda m: _month(m[0])),
    Rule(rf"(?<![\w:])(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d) ?(?:(?P<first>[aApP])\.?[mM]\.?)? ?- ?(?P<h2>\d{{1,2}})"
         rf"(?::(?P<m2>[0-5]\d))? ?(?:{_HALF})?(?![\w:])", _time_range),
    Rule(rf"(?<![\w:.])(?P<hour>\d{{1,2}}):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?(?: ?{_HALF})?(?![\w:])", _time),
    Rule(r"(?<![\w:.,$])(\d{1,2})(?::(\d\d))? ?([aApP])\.?[mM]\.? ?(?:-|to) ?(\d{1,2})(?::(\d\d))? ?([aApP])\.?[mM](?!\w)\.?",
         lambda m: f"{clock(m[1], m[2] or '0', m[3])} to {clock(m[4], m[5] or '0', m[6])}{_stop(m)}"),
    Rule(rf"(?<![\w:.,$])(?P<hour>\d{{1,2}})(?: ?(?:-|to) ?(?P<to>\d{{1,2}}(?::\d\d)?))? ?{_HALF}", _hours),
    Rule(r"(?<![\w-])'(\d0)'?s(?!\w)", lambda m: decade(m[1])),
    Rule(r"(?<![\w.,])(?<!\d-)(\d{3}0)'?s(?: ?- ?(\d{3}0|\d0)'?s)?(?!\w)",
         lambda m: decade(m[1]) + (f" to {decade(m[2])}" if m[2] else "")),
    Rule(r"(?<![\w.,$])(?<!\d-)(\d0)'?s(?!\w)", lambda m: decade(m[1])),
    Rule(r"(?<!\w)'(\d\d)(?!\w|')", lambda m: cardinal(int(m[1])) if m[1][0] != "0" else f"oh {cardinal(int(m[1]))}"),
    Rule(rf"(?<![\w.,])({_ERA}) ?(\d{{1,4}})(?!\w)", lambda m: f"{_letters(m[1])} {_era_year(m[2])}"),
    Rule(rf"(?<![\w.,])(\d{{1,4}}) ?({_ERA})(?!\w)", lambda m: f"{_era_year(m[1])} {_letters(m[2])}" + _stop(m)),
    Rule(rf"(?<![\w.,$/-])({_YEAR}) ?[-/] ?({_YEAR}|\d\d)(?![\w/-]|[.,]\d)", lambda m: _years(m)),
    Rule(r"(?<![\w.,$/+-])(1[1-9]\d\d|20\d\d)(?!\w|[,.]\d|[-/]\d|%)", lambda m: year(int(m[1]))),
    Rule(r"(?<=\b[Ii]n )(10\d\d)(?![\w,.]*\d)(?= *[.,;!?]|$| the\b| he\b| she\b| they\b)", lambda m: _old_year(m[1])),
]  # fmt: skip


def _letters(text: str) -> str:
    """B.C. -> BC."""
    return text.replace(".", "")


def _era_year(text: str) -> str:
    """44 -> forty four, 1066 -> ten sixty six."""
    return year(int(text)) if len(text) == 4 else cardinal(int(text))


def _old_year(text: str) -> str:
    """1066 -> ten sixty six, also for years that `year` reads as cardinals."""
    rest = int(text[2:])
    return f"ten {'oh ' if rest < 10 else ''}{cardinal(rest)}" if rest else cardinal(int(text))


def _years(match: re.Match[str]) -> str:
    """1980-86 -> nineteen eighty to eighty six."""
    last = match[2]
    if len(last) == 2 and int(last) <= int(match[1][2:]):
        return match[0]
    second = (
        year(int(last)) if len(last) == 4 else (f"oh {cardinal(int(last))}" if last[0] == "0" else cardinal(int(last)))
    )
    return f"{year(int(match[1]))} to {second}"
