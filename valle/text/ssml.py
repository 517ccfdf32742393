"""A strict subset of SSML 1.1 (W3C Recommendation, 2010): what is not understood is refused, with its position."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from xml.parsers import expat

from valle.errors import UserError
from valle.text.markup import parse_pause
from valle.text.script import Break, Event, Mark, Pause, Span

# Seconds of <break strength>.
STRENGTHS = {"none": 0.0, "x-weak": 0.1, "weak": 0.25, "medium": 0.5, "strong": 0.8, "x-strong": 1.2}
# Factors of <prosody rate>.
RATES = {"x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.75}
MIN_RATE, MAX_RATE = 0.5, 2.0
# Attributes of each element; those after "!" are required.
ELEMENTS = {
    "speak": "version xml:lang xmlns",
    "p": "xml:lang",
    "s": "xml:lang",
    "lang": "!xml:lang",
    "break": "time strength",
    "sub": "!alias",
    "say-as": "!interpret-as format",
    "phoneme": "!ph alphabet",
    "prosody": "!rate",
    "mark": "!name",
}
# Kinds of <say-as>: those whose characters are read one by one, and those that are read as they are written.
SPELLED = ("characters", "spell-out", "verbatim", "digits", "telephone")
WRITTEN = ("cardinal", "number", "date", "time", "fraction", "unit", "currency", "address")


@dataclass(frozen=True)
class _Style:
    """How text is read inside of an element."""

    element: str
    language: str | None = None
    speed: float = 1.0
    phonemes: str | None = None
    alias: str | None = None
    say_as: str | None = None


class _Parser:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.styles: list[_Style] = []
        self.expat = expat.ParserCreate()
        self.expat.buffer_text = True
        self.expat.StartElementHandler = self._start
        self.expat.EndElementHandler = self._end
        self.expat.CharacterDataHandler = self._text
        self.expat.StartDoctypeDeclHandler = self._refuse("a document type declaration")
        self.expat.EntityDeclHandler = self._refuse("an entity")
        self.expat.ProcessingInstructionHandler = self._refuse("a processing instruction")

    def _refuse(self, what: str) -> Callable[..., None]:
        def handler(*_: object) -> None:
            raise self._error(f"{what} is not allowed; leave it out")

        return handler

    def _error(self, message: str) -> UserError:
        line, column = self.expat.CurrentLineNumber, self.expat.CurrentColumnNumber + 1
        return UserError(f"SSML, line {line}, column {column}: {message}")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name not in ELEMENTS:
            raise self._error(f"<{name}> is not supported; use {', '.join(ELEMENTS)}")
        if (name == "speak") == bool(self.styles):
            raise self._error(f"<{name}> stands at a wrong place; everything stands in one <speak>")
        allowed = ELEMENTS[name].split()
        for attribute in attributes:
            if attribute not in allowed and f"!{attribute}" not in allowed:
                raise self._error(f'<{name} {attribute}="..."> is not supported; use {ELEMENTS[name].replace("!", "")}')
        for attribute in allowed:
            if attribute.startswith("!") and attribute[1:] not in attributes:
                raise self._error(f"<{name}> needs the attribute {attribute[1:]}")
        outer = self.styles[-1] if self.styles else _Style("")
        if outer.element in ("break", "mark", "sub", "say-as", "phoneme"):
            raise self._error(f"<{outer.element}> holds no other element; close it before <{name}>")
        style = replace(outer, element=name, language=attributes.get("xml:lang", "").lower() or outer.language)
        self.styles.append(self._style(name, attributes, style))
        if name in ("p", "s"):
            self.events.append(Break("paragraph" if name == "p" else "sentence"))

    def _style(self, name: str, attributes: dict[str, str], style: _Style) -> _Style:
        """Return the style of an element; add the event of an empty one."""
        match name:
            case "break":
                self.events.append(Pause(self._break_seconds(attributes)))
            case "mark":
                self.events.append(Mark(attributes["name"]))
            case "sub":
                return replace(style, alias=attributes["alias"])
            case "phoneme":
                if attributes.get("alphabet", "ipa") != "ipa":
                    raise self._error(f'<phoneme alphabet="{attributes["alphabet"]}"> is not supported; use ipa')
                return replace(style, phonemes=attributes["ph"])
            case "say-as":
                kind = attributes["interpret-as"]
                if kind not in (*SPELLED, *WRITTEN, "ordinal"):
                    names = ", ".join((*SPELLED, *WRITTEN, "ordinal"))
                    raise self._error(f'<say-as interpret-as="{kind}"> is not supported; use {names}')
                return replace(style, say_as=kind)
            case "prosody":
                return replace(style, speed=self._rate(attributes["rate"], style.speed))
        return style

    def _break_seconds(self, attributes: dict[str, str]) -> float:
        time = attributes.get("time")
        if time is None:
            strength = attributes.get("strength", "medium")
            if strength not in STRENGTHS:
                raise self._error(f'<break strength="{strength}"> is not supported; use {", ".join(STRENGTHS)}')
            return STRENGTHS[strength]
        match = re.fullmatch(r"(\d+(?:\.\d+)?|\.\d+)(ms|s)", time.strip())
        if match is None:
            raise self._error(f'<break time="{time}"> is no duration; write it as 500ms or 1.5s')
        try:
            return parse_pause(match[1], match[2])
        except UserError as error:
            raise self._error(str(error)) from error

    def _rate(self, value: str, speed: float) -> float:
        if value in RATES:
            factor = RATES[value]
        elif match := re.fullmatch(r"([+-]?)(\d+(?:\.\d+)?)%", value):
            number = float(match[2]) / 100
            factor = 1 + number if match[1] == "+" else 1 - number if match[1] == "-" else number
        elif re.fullmatch(r"\d+(?:\.\d+)?", value):
            factor = float(value)
        else:
            raise self._error(f'<prosody rate="{value}"> is no rate; write it as 80%, 1.2 or {", ".join(RATES)}')
        if not MIN_RATE <= speed * factor <= MAX_RATE:
            raise self._error(f'<prosody rate="{value}"> gives {speed * factor:g}; it must be {MIN_RATE} to {MAX_RATE}')
        return speed * factor

    def _end(self, name: str) -> None:
        self.styles.pop()
        if name in ("p", "s"):
            self.events.append(Break("paragraph" if name == "p" else "sentence"))

    def _text(self, text: str) -> None:
        style = self.styles[-1]
        words = re.sub(r"\s+", " ", text)
        if style.element in ("break", "mark") and words.strip():
            raise self._error(f"<{style.element}> holds no text; close it as <{style.element}/>")
        alias = style.alias
        if style.say_as is not None:
            alias = say_as(style.say_as, words.strip())
        self.events.append(
            Span(words, language=style.language, phonemes=style.phonemes, alias=alias, speed=style.speed)
        )


def say_as(kind: str, text: str) -> str | None:
    """Return what is read in place of a text in <say-as>; None: the text itself.

    Args:
        kind: Value of interpret-as.
        text: The text.
    """
    if kind in SPELLED:
        # With hyphens espeak-ng reads the letter A as a letter, not as the article.
        runs = re.findall(r"[^\W\d_]+|\d+" if kind != "verbatim" else r"[^\W\d_]+|\d+|[^\w\s]", text)
        return " ".join("-".join(run) if run.isalpha() else " ".join(run) for run in runs)
    if kind == "ordinal" and text.isdigit():
        last = int(text[-1]) if int(text) % 100 not in (11, 12, 13) else 0
        return text + {1: "st", 2: "nd", 3: "rd"}.get(last, "th")
    return None


def read_ssml(text: str) -> Iterator[Event]:
    """Read SSML.

    Args:
        text: A document whose root is <speak>.

    Returns:
        Its events.

    Raises:
        UserError: The document is malformed, or holds something that is not supported.
    """
    parser = _Parser()
    try:
        parser.expat.Parse(text.strip(), True)
    except expat.ExpatError as error:
        reason = expat.errors.messages[error.code]
        raise UserError(f"SSML, line {error.lineno}, column {error.offset + 1}: {reason}") from error
    return iter(parser.events)
