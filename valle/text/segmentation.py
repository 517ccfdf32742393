"""Split text into sentences while it arrives."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from valle.text.script import Break, Ending, Event, Heading, Mark, Pause, Sentence, Span

# Characters from which on a text without the end of a sentence is cut at a clause, or between two words.
MAX_SENTENCE = 500
_END = re.compile(r"[.!?…。！？]")
_CLOSED = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")
_CLAUSE = re.compile(r"[,;:–—][\"'”’»)\]]*(?=\s)")
# "1.", "2)", "(3)", "• 4.", "a."
_MARKER = re.compile(r"(?P<bullet>[•⁃]\s?)?\(?(?P<index>\d{1,3}|[a-z])(?P<dots>[.)]{1,2})(?=\s|$)")


def sentence_lengths(text: str, language: str) -> list[int]:
    """Split a text into sentences, with the package sentencex, and at the items of a list in one line.

    Args:
        text: Written text without line breaks.
        language: espeak-ng language tag.

    Returns:
        Number of characters of each sentence with the space after it; together those of the text.
    """
    import sentencex

    lengths = []
    for item in _list_items(text):
        # The point after the number of a list's item ends no sentence.
        marker = _MARKER.match(item)
        masked = item if marker is None else re.sub(r"\.", ",", item[: marker.end()]) + item[marker.end() :]
        lengths += [len(sentence) for sentence in sentencex.segment(language.partition("-")[0], masked)]
    return lengths


def _list_items(text: str) -> list[str]:
    """Split a text that begins with the first item of a list before each of the others."""
    marker = _MARKER.match(text)
    if marker is None:
        return [text]
    start = marker.start()
    items = []
    while marker is not None:
        following = _next_index(marker["index"])
        later = (m for m in _MARKER.finditer(text, marker.end()) if text[m.start() - 1].isspace())
        marker = next((m for m in later if m["index"] == following), None)
        end = len(text) if marker is None else marker.start()
        items.append(text[start:end])
        start = end
    return items


def _next_index(index: str) -> str:
    return str(int(index) + 1) if index.isdigit() else chr(ord(index) + 1)


class Segmenter:
    """Makes sentences of events.

    A sentence is complete as soon as a word after it is. The result does not depend on how the text was cut into spans
    of the same kind.

    Args:
        language: espeak-ng language tag of the text.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._spans: list[Span] = []  # complete words
        self._word = Span("")  # the beginning of one
        self._marks: list[tuple[str, int]] = []  # names, and the characters before them
        self._chapter: str | None = None

    def add(self, event: Event) -> Iterator[Sentence]:
        """Add an event.

        Args:
            event: What comes next in the text.

        Yields:
            The sentences that it completes.
        """
        match event:
            case Span():
                yield from self._add_span(event)
            case Pause():
                yield from self._flush("clause", event.seconds)
            case Break():
                yield from self._flush(event.ending)
            case Mark():
                self._marks.append((event.name, len(self._text) + len(self._word.text)))
            case Heading():
                yield from self._flush("paragraph")
                self._chapter = event.title
                yield from self._add_span(Span(event.title))
                yield from self._flush("paragraph")

    def finish(self) -> Iterator[Sentence]:
        """End the text.

        Yields:
            The sentences that were not complete.
        """
        yield from self._flush("paragraph")

    @property
    def _text(self) -> str:
        return "".join(span.text for span in self._spans)

    def _add_span(self, span: Span) -> Iterator[Sentence]:
        current = self._spans[-1] if not self._word.text and self._spans else self._word
        if current.text and current.speed != span.speed:
            yield from self._flush("clause")
        if span.phonemes is not None or span.alias is not None:
            self._append(self._word)
            self._word = Span("")
            self._append(span)
            return
        if replace(self._word, text="") != replace(span, text=""):
            self._append(self._word)
            self._word = replace(span, text="")
        for piece in re.findall(r"\s+|\S+", span.text):
            if piece.isspace():
                self._append(replace(self._word, text=self._word.text + " "))
                self._word = replace(self._word, text="")
                yield from self._complete()
            else:
                self._word = replace(self._word, text=self._word.text + piece)

    def _append(self, span: Span) -> None:
        """Append complete words; those that are read in one way become one span."""
        if not span.text:
            return
        last = self._spans[-1] if self._spans else None
        plain = span.phonemes is None and span.alias is None
        if last is not None and plain and replace(last, text="") == replace(span, text=""):
            if span.text == " " and last.text.endswith(" "):
                return
            self._spans[-1] = replace(last, text=last.text + span.text)
        else:
            self._spans.append(span)

    def _complete(self) -> Iterator[Sentence]:
        """Yield the first sentence, if another word follows it."""
        text = self._text
        if _END.search(text) or _MARKER.match(text):
            lengths = sentence_lengths(text, self.language)
            if len(lengths) > 1 and any(character.isalnum() for character in text[lengths[0] :]):
                yield from self._take(lengths[0], "sentence")
                return
        if len(text) > MAX_SENTENCE:
            clauses = [match.end() for match in _CLAUSE.finditer(text)]
            yield from self._take(clauses[-1] if clauses else len(text), "clause" if clauses else "none")

    def _flush(self, ending: Ending, pause: float | None = None) -> Iterator[Sentence]:
        """Yield all that was added; the last sentence gets the ending and the pause."""
        self._append(self._word)
        self._word = Span("")
        text = self._text
        if not text.strip():
            if pause is not None:
                yield self._sentence((), ending, pause, ())
            return
        lengths = sentence_lengths(text, self.language)
        for length in lengths[:-1]:
            yield from self._take(length, "sentence")
        if ending == "clause" and _CLOSED.search(text.strip()):
            ending = "sentence"
        yield from self._take(lengths[-1], ending, pause)

    def _take(self, length: int, ending: Ending, pause: float | None = None) -> Iterator[Sentence]:
        """Remove the first characters and yield them as a sentence, unless they hold no word."""
        taken: list[Span] = []
        marks = []
        done = 0
        while self._spans and done < length:
            span = self._spans.pop(0)
            size = length - done
            if len(span.text) > size:
                self._spans.insert(0, replace(span, text=span.text[size:]))
                span = replace(span, text=span.text[:size])
            # A mark inside of a span divides it.
            while self._marks and done <= self._marks[0][1] < done + len(span.text):
                name, position = self._marks.pop(0)
                if position > done and span.phonemes is None and span.alias is None:
                    taken.append(replace(span, text=span.text[: position - done]))
                    span = replace(span, text=span.text[position - done :])
                    done = position
                marks.append(Mark(name, len(taken)))
            taken.append(span)
            done += len(span.text)
        while self._marks and self._marks[0][1] <= done and not self._spans:
            marks.append(Mark(self._marks.pop(0)[0], len(taken)))
        self._marks = [(name, position - done) for name, position in self._marks]
        spans = _stripped(taken)
        if pause is not None or any(character.isalnum() for span in spans for character in span.text):
            yield self._sentence(spans, ending, pause, tuple(marks))

    def _sentence(
        self, spans: tuple[Span, ...], ending: Ending, pause: float | None, marks: tuple[Mark, ...]
    ) -> Sentence:
        chapter, self._chapter = self._chapter, None
        return Sentence(spans, ending, pause, marks, chapter)


def _stripped(spans: list[Span]) -> tuple[Span, ...]:
    """Remove the spaces at both ends."""
    if spans:
        spans[0] = replace(spans[0], text=spans[0].text.lstrip())
        spans[-1] = replace(spans[-1], text=spans[-1].text.rstrip())
    return tuple(span for span in spans if span.text)


def split_sentences(events: Iterable[Event], language: str) -> Iterator[Sentence]:
    """Make sentences of events.

    Args:
        events: Of a text, see `valle.text.script`.
        language: espeak-ng language tag of the text.

    Yields:
        Sentences, each as soon as the word after it is complete.
    """
    segmenter = Segmenter(language)
    for event in events:
        yield from segmenter.add(event)
    yield from segmenter.finish()
