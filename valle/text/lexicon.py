"""Pronunciations of words by the user."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from valle.errors import UserError
from valle.text.script import Mark, Sentence, Span

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


@dataclass(frozen=True)
class Lexicon:
    """Words and how they are read.

    Attributes:
        entries: Spans of the words: with phonemes, or with an alias. Keys with a capital letter match as they are
            written, others in any case.
    """

    entries: dict[str, Span]

    def apply(self, sentence: Sentence) -> Sentence:
        """Return a sentence in which the words of the lexicon are spans of their own."""
        spans: list[Span] = []
        first_of = []
        for span in sentence.spans:
            first_of.append(len(spans))
            spans += [span] if span.phonemes or span.alias else self._split(span)
        first_of.append(len(spans))
        marks = tuple(Mark(mark.name, first_of[mark.span]) for mark in sentence.marks)
        return replace(sentence, spans=tuple(spans), marks=marks)

    def _split(self, span: Span) -> list[Span]:
        pieces = []
        done = 0
        for match in _WORD.finditer(span.text):
            entry = self.entries.get(match[0]) or self.entries.get(match[0].lower())
            if entry is None:
                continue
            if match.start() > done:
                pieces.append(replace(span, text=span.text[done : match.start()]))
            pieces.append(replace(span, text=match[0], phonemes=entry.phonemes, alias=entry.alias))
            done = match.end()
        if done < len(span.text):
            pieces.append(replace(span, text=span.text[done:]))
        return pieces


def read_lexicon(path: str | Path) -> Lexicon:
    """Read a lexicon: a line `word<TAB>/IPA/` or `word<TAB>words that are read in its place` for each word.

    Empty lines and lines that begin with # are left out.

    Args:
        path: UTF-8 text file.

    Raises:
        UserError: The file cannot be read, or a line is malformed.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8; save it as UTF-8 text") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    entries: dict[str, Span] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, tab, reading = line.partition("\t")
        word = word.strip()
        reading = reading.strip()
        if not tab or not reading or not _WORD.fullmatch(word):
            raise UserError(f"{path}:{number}: write one word, a tab, and /IPA/ or the words that are read instead")
        if word in entries:
            raise UserError(f"{path}:{number}: the word {word!r} is there twice; remove one line")
        is_ipa = len(reading) > 2 and reading.startswith("/") and reading.endswith("/")
        entries[word] = Span(word, phonemes=reading[1:-1]) if is_ipa else Span(word, alias=reading)
    return Lexicon(entries)
