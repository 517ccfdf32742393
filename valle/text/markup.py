"""Plain text with marks: `[pause 500ms]`, `[word](/IPA/)`, paragraphs, headings and lists."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from valle.errors import UserError
from valle.text.script import Break, Event, Heading, Pause, Span

# Seconds.
MAX_PAUSE = 60.0
# Characters after a bracket in which a mark ends.
_MAX_MARK = 200
# Characters of a line that tell what kind of line it is, and the longest title of a chapter without "#".
_MIN_LINE = 12
_MAX_TITLE = 80
_PAUSE = re.compile(r"pause(?:[:= ]\s*(?P<value>\d+(?:\.\d+)?)\s*(?P<unit>ms|s))?", re.IGNORECASE)
_PRONUNCIATION = re.compile(r"\[(?P<word>[^\[\]\n]+)\]\(/(?P<ipa>[^/()\n]+)/\)")
_BLANK = re.compile(r"[ \t]*\n")
_HEADING = re.compile(r"#{1,6}[ \t]+(?P<title>[^\n]*\S)[ \t#]*(?:\n|$)")
_CHAPTER = re.compile(
    r"(?P<title>(?:chapter|part|book)[ \t]+(?:\d+|[ivxlc]+|[a-z]+(?:-[a-z]+)?)\b[.:]?(?:[ \t]+[^\n]*)?)(?:\n|$)",
    re.IGNORECASE,
)
_CHAPTER_WORD = re.compile(r"(?:chapter|part|book)[ \t]", re.IGNORECASE)
_RULE = re.compile(r"[ \t]*([-*_=][ \t]*){3,}(?:\n|$)")
_ITEM = re.compile(r"[ \t]*(?:[-*•⁃][ \t]+|(?=\(?\d{1,3}[.)][ \t]))")


def parse_pause(value: str, unit: str) -> float:
    """Return the seconds of a number and its unit, "ms" or "s".

    Raises:
        UserError: The pause is longer than `MAX_PAUSE`.
    """
    seconds = float(value) / (1000 if unit.lower() == "ms" else 1)
    if seconds > MAX_PAUSE:
        raise UserError(f"a pause of {seconds:g} s is too long; give at most {MAX_PAUSE:g} s")
    return seconds


class _Reader:
    """Reads events of text that arrives in pieces; what is not decidable yet stays in the buffer."""

    def __init__(self) -> None:
        self.buffer = ""
        self.final = False
        self.line_start = True
        self.line = 1
        self.column = 1

    def events(self) -> Iterator[Event]:
        """Yield what is complete."""
        while self.buffer:
            if self.line_start:
                if not self._line_is_decidable():
                    return
                yield from self._begin_line()
                continue
            position = re.search(r"[\[\n]", self.buffer)
            end = len(self.buffer) if position is None else position.start()
            if end:
                yield Span(self._take(end))
            elif self.buffer[0] == "\n":
                self._take(1)
                yield Span(" ")
                self.line_start = True
            else:
                event = self._read_mark()
                if event is None:
                    return
                yield event

    def _take(self, length: int) -> str:
        taken, self.buffer = self.buffer[:length], self.buffer[length:]
        lines = taken.split("\n")
        self.line += len(lines) - 1
        self.column = len(lines[-1]) + (self.column if len(lines) == 1 else 1)
        return taken

    def _line_is_decidable(self) -> bool:
        if self.final or "\n" in self.buffer:
            return True
        if self.buffer.startswith("#") or _CHAPTER_WORD.match(self.buffer):
            return len(self.buffer) > _MAX_TITLE
        return len(self.buffer) >= _MIN_LINE and not _RULE.match(self.buffer)

    def _begin_line(self) -> Iterator[Event]:
        """Yield what the beginning of a line tells."""
        self.line_start = False
        if match := _BLANK.match(self.buffer) or _RULE.match(self.buffer):
            self._take(match.end())
            self.line_start = True
            yield Break("paragraph")
        elif match := _HEADING.match(self.buffer) or _CHAPTER.match(self.buffer):
            if len(match["title"]) <= _MAX_TITLE:
                self._take(match.end())
                self.line_start = True
                yield Heading(match["title"])
        elif match := _ITEM.match(self.buffer):
            self._take(match.end())
            yield Break("sentence")

    def _read_mark(self) -> Event | None:
        """Read what begins with a bracket; None: its end has not arrived."""
        end = re.search(r"[\]\n]", self.buffer)
        if end is None and len(self.buffer) < _MAX_MARK and not self.final:
            return None
        if end is None or end[0] == "\n" or end.start() > _MAX_MARK:
            return Span(self._take(1))
        content = self.buffer[1 : end.start()]
        if match := _PAUSE.match(content):
            return self._read_pause(content, match)
        rest = self.buffer[end.end() :]
        is_open = not rest or (rest[0] == "(" and not re.search(r"[)\n]", rest) and len(rest) < _MAX_MARK)
        if is_open and not self.final:
            return None
        if match := _PRONUNCIATION.match(self.buffer):
            self._take(match.end())
            return Span(match["word"], phonemes=match["ipa"])
        return Span(self._take(end.end()))

    def _read_pause(self, content: str, match: re.Match[str]) -> Event:
        where = f"line {self.line}, column {self.column}"
        if match.end() < len(content) and content[match.end()].isalpha():
            # "[pauses]" is no mark.
            return Span(self._take(1))
        if match["value"] is None or match.end() < len(content):
            raise UserError(f"{where}: [{content}] is no pause; write it as [pause 500ms] or [pause 1.5s]")
        try:
            seconds = parse_pause(match["value"], match["unit"])
        except UserError as error:
            raise UserError(f"{where}: {error}") from error
        self._take(len(content) + 2)
        return Pause(seconds)


def read_marks(pieces: Iterable[str]) -> Iterator[Event]:
    """Read plain text with marks.

    Args:
        pieces: The text, cut anywhere.

    Yields:
        Its events.

    Raises:
        UserError: A mark is malformed.
    """
    reader = _Reader()
    for piece in pieces:
        reader.buffer += piece.replace("\r\n", "\n").replace("\r", "\n")
        yield from reader.events()
    reader.final = True
    yield from reader.events()
