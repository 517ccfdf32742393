"""Measures: numbers with units, percentages, temperatures, dimensions, feet and inches, ranges of them."""

from __future__ import annotations

import re

from valle.text.normalization.numbers import NUMBER, cardinal, fraction, number
from valle.text.normalization.rule import Rule, choice

# Unit -> its singular, and after a slash its plural where it is not the singular with an s.
UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "μm": "micrometer", "nm": "nanometer",
    "mi": "mile", "yd": "yard", "yds": "yard", "ft": "foot/feet", "in": "inch/inches", "nmi": "nautical mile",
    "kg": "kilogram", "g": "gram", "mg": "milligram", "μg": "microgram", "mcg": "microgram", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "t": "ton",
    "l": "liter", "L": "liter", "ml": "milliliter", "mL": "milliliter", "dl": "deciliter", "cl": "centiliter",
    "gal": "gallon", "qt": "quart", "pt": "pint", "fl oz": "fluid ounce", "tbsp": "tablespoon", "tsp": "teaspoon",
    "Tbsp": "tablespoon", "cc": "C C/C C",
    "s": "second", "sec": "second", "secs": "second", "ms": "millisecond", "μs": "microsecond", "ns": "nanosecond",
    "min": "minute", "mins": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "wk": "week", "wks": "week",
    "yr": "year", "yrs": "year", "mo": "month", "mos": "month",
    "B": "byte", "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte",
    "PB": "petabyte", "KiB": "kibibyte", "MiB": "mebibyte", "GiB": "gibibyte", "Kb": "kilobit", "Mb": "megabit",
    "Gb": "gigabit",
    "Hz": "hertz/hertz", "kHz": "kilohertz/kilohertz", "KHz": "kilohertz/kilohertz", "MHz": "megahertz/megahertz",
    "GHz": "gigahertz/gigahertz", "THz": "terahertz/terahertz", "dB": "decibel", "dBA": "decibel",
    "W": "watt", "kW": "kilowatt", "MW": "megawatt", "GW": "gigawatt", "Wh": "watt hour", "kWh": "kilowatt hour",
    "MWh": "megawatt hour", "mAh": "milliamp hour", "V": "volt", "kV": "kilovolt", "mV": "millivolt", "mA": "milliamp",
    "Ah": "amp hour", "ohm": "ohm", "J": "joule", "kJ": "kilojoule", "N": "newton", "Pa": "pascal",
    "kPa": "kilopascal", "hPa": "hectopascal", "bar": "bar", "psi": "P S I/P S I", "kcal": "kilocalorie",
    "cal": "calorie", "hp": "horsepower/horsepower", "BTU": "B T U/B T Us",
    "mph": "mile per hour/miles per hour", "kph": "kilometer per hour/kilometers per hour",
    "km/h": "kilometer per hour/kilometers per hour", "kmh": "kilometer per hour/kilometers per hour",
    "mpg": "mile per gallon/miles per gallon", "rpm": "R P M/R P M", "bpm": "beat per minute/beats per minute",
    "fps": "frame per second/frames per second", "dpi": "dot per inch/dots per inch", "ppm": "part per million/parts per million",
    "bps": "bit per second/bits per second", "kbps": "kilobit per second/kilobits per second",
    "Mbps": "megabit per second/megabits per second", "Gbps": "gigabit per second/gigabits per second",
    "MB/s": "megabyte per second/megabytes per second", "GB/s": "gigabyte per second/gigabytes per second",
    "px": "pixel", "MP": "megapixel", "ha": "hectare", "ac": "acre", "sq ft": "square foot/square feet",
    "sq. ft.": "square foot/square feet", "sq mi": "square mile", "sq km": "square kilometer", "sq m": "square meter",
    "cu ft": "cubic foot/cubic feet", "mol": "mole", "K": "kelvin/kelvin", "pp": "percentage point", "deg": "degree",
    "°C": "degree Celsius/degrees Celsius", "°F": "degree Fahrenheit/degrees Fahrenheit",
    "° C": "degree Celsius/degrees Celsius", "° F": "degree Fahrenheit/degrees Fahrenheit", "°K": "kelvin/kelvin",
    "°": "degree", "%": "percent/percent", "‰": "per mille/per mille", "dozen": "dozen/dozen",
}  # fmt: skip
_POWERS = {"2": "square", "3": "cubic"}
# Units that follow a number more often as a word or a name; they are read as units only where nothing else fits.
_AMBIGUOUS = {"in", "B", "K", "t", "N", "J", "V", "W", "pp", "ac", "bar", "mo", "s", "h", "m", "g", "l", "L"}
_PLAIN = [unit for unit in UNITS if unit not in _AMBIGUOUS]


def unit_name(unit: str, many: bool) -> str:
    """Return the name of a unit: km -> kilometers, m^2 -> square meters, m/s^2 -> meters per second squared."""
    if unit in UNITS:
        one, _, several = UNITS[unit].partition("/")
        return (several or one + "s") if many else one
    if "/" in unit:
        over, under = unit.split("/", 1)
        base, _, power = under.partition("^")
        tail = {"": "", "2": " squared", "3": " cubed"}[power]
        return f"{unit_name(over, many)} per {unit_name(base, False)}{tail}"
    base, power = (unit[:-1].rstrip("^"), unit[-1])
    return f"{_POWERS[power]} {unit_name(base, many)}"


_LENGTHS = choice(["km", "m", "cm", "mm", "mi", "ft", "yd", "in"])
_COMPOUND = (
    r"(?:km|m|cm|mm|g|kg|mg|J|N|W|L|mL|ml|mi|ft|lb)/(?:s\^2|s|h|hr|min|kg|m\^2|m\^3|L|l|dL|mL|ml|day|d)(?![\w^])"
)
UNITS |= {"d": "day", "day": "day", "dL": "deciliter"}
_UNIT = rf"(?:{_COMPOUND}|(?:{_LENGTHS})(?:\^[23]|[23](?!\d))|{choice(UNITS)})(?![\w'^])\.?"


def _clean(unit: str) -> str:
    """A unit without the period after it."""
    return unit if unit == "sq. ft." else unit.rstrip(".")


def _end(match: re.Match[str]) -> str:
    """The period of a unit that ends a sentence."""
    after = match.string[match.end() :]
    return "." if match[0].endswith(".") and re.match(r"\s*$|\s+[A-Z\"]", after) else ""


def _is_word(unit: str, match: re.Match[str], spaced: bool) -> bool:
    """Whether a match is a word rather than a unit: `5 in the room`, `3 s`."""
    after = match.string[match.end() :]
    if unit == "in":
        ends = re.match(r"\s*(?:$|[.,;:)!?x×]|by\b|long|wide|tall|high|deep|thick)", after)
        return spaced and not (ends or match[0].endswith("."))
    if unit in ("B", "K", "t", "N", "J", "pp", "ac", "bar", "V", "W"):
        return unit not in ("V", "W", "N", "J") or not re.match(r"\s*(?:$|[.,;:)!?]|[a-z])", after)
    return False


def _measure(match: re.Match[str]) -> str:
    """5-7 km -> five to seven kilometers."""
    unit = _clean(match["unit"])
    text = match["number"]
    if unit not in UNITS and unit.endswith(("2", "3")) and "^" not in unit:
        unit = f"{unit[:-1]}^{unit[-1]}"
    if _is_word(unit, match, " " in match[0]):
        return match[0]
    minus = "minus " if match["minus"] else ""
    last = match["last"] or text
    words = f"{number(text)} to {number(last)}" if match["last"] else number(text)
    many = last not in ("1", "-1")
    return f"{minus}{words} {unit_name(unit, many)}{_end(match)}"


def _feet(match: re.Match[str]) -> str:
    """5 ft 10 in -> five feet ten inches; 5'10" -> five foot ten."""
    words = f"{number(match['feet'])} {'foot' if match['feet'] == '1' or match['short'] else 'feet'}"
    if match["inches"]:
        inch = "" if match["short"] else " inch" if match["inches"] == "1" else " inches"
        words += f" {number(match['inches'])}{inch}"
    return words


def _dimensions(match: re.Match[str]) -> str:
    """5 x 7 cm -> 5 by 7 cm; a product is left to mathematics."""
    if " × " in match[0] and not re.search("[a-z]", match[0]):
        return match[0]
    # The size of a screen.
    if re.fullmatch(r"\d{3,4} ?[x×X] ?\d{3,4}", match[0]):
        return " by ".join(_pixels(text) for text in re.findall(r"\d+", match[0]))
    return re.sub(r" ?[x×X] ?(?=\d)", " by ", match[0])


def _pixels(text: str) -> str:
    """1080 -> ten eighty, 640 -> six forty."""
    if text.endswith("00"):
        return number(text)
    rest = cardinal(int(text[-2:]))
    return f"{cardinal(int(text[:-2]))} {'oh ' if text[-2] == '0' else ''}{rest}"


def _mixed(match: re.Match[str]) -> str:
    """1 1/2 -> one and a half."""
    numerator, denominator = int(match["n"]), int(match["d"])
    part = fraction(numerator, denominator)
    if numerator == 1:
        part = re.sub("^one", "an" if denominator in (8, 11, 18, 80) else "a", part)
    return f"{cardinal(int(match['whole']))} and {part}"


DIMENSIONS: list[Rule] = [
    Rule(r"(?<![\w.])(\d+(?:\.\d+)?)\" ?[x×X] ?(\d+(?:\.\d+)?)\"", r"\1 inches by \2 inches"),
    Rule(r"(?<![\w.])\d+(?:\.\d+)?(?: ?(?:ft|in|cm|mm|m))?(?: ?[x×X] ?\d+(?:\.\d+)?(?: ?(?:ft|in|cm|mm|m)\b)?)+(?![\d/])",
         _dimensions),
]  # fmt: skip
RULES: list[Rule] = [
    Rule(r"(?<![\w/.,])(?P<whole>\d+)(?: |-|\u2044| and )(?P<n>\d{1,2})/(?P<d>[2-9]|[1-9]\d)(?![\w/])", _mixed),
    Rule(r"(?<![\w.,])(?P<feet>\d+)(?P<short>')(?: ?(?P<inches>\d+(?:\.\d+)?)(?:\"|''))(?!\w)", _feet),
    Rule(r"(?<![\w.,])(?P<feet>\d+)(?P<short>') ?(?P<inches>1[01]|\d)(?![\w'\"])", _feet),
    Rule(r"(?<![\w.,])(?P<feet>\d+) ?(?:ft\.?|feet|foot),? (?P<inches>\d+(?:\.\d+)?) ?(?:in\b\.?|inch(?:es)?\b|\")(?P<short>)",
         lambda m: _feet(m) + _end(m)),
    Rule(r"(?<![\w.,'])(\d+(?:\.\d+)?)(?:\"|'')(?= (?:x|by|long|wide|tall|high|deep|thick|screen|monitor|tv|pipe|[a-z])|[,.;]? *$)",
         lambda m: m[0] if m.string.count('"') % 2 == 0 else f"{number(m[1])} {'inch' if m[1] == '1' else 'inches'}",
         re.IGNORECASE),
    Rule(r"(?<![\w.,'])(\d{1,2})'(?=[ .,;!?]|$)",
         lambda m: m[0] if re.search(r"(?<!\w)'", m.string[: m.start()]) else f"{number(m[1])} feet"),
    Rule(rf"(?<![\w.,])(?P<minus>[-])?(?P<number>{NUMBER}) ?% ?(?:-|to) ?(?P<last>{NUMBER}) ?(?P<unit>%)", _measure),
    Rule(rf"(?<![\w.,])(?P<minus>[-])?(?P<number>{NUMBER})(?: ?(?:-|to) ?(?P<last>{NUMBER}))?(?: ?|-)(?P<unit>{_UNIT})",
         _measure),
]  # fmt: skip
