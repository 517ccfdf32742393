"""Plan a text: sentences are packed into parts that are decoded one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from valle.errors import UserError
from valle.text.encoded import EncodedText, EncodedWord
from valle.text.encoding import TextEncoder
from valle.text.normalization import normalize
from valle.text.reading import read_script
from valle.text.script import Ending, Sentence
from valle.text.sentences import split
from valle.text.units import TextUnits

MAX_PART = 150  # text units of one decoding, about 10 seconds as most training utterances; longer text is split
MAX_CONTINUATION = 600  # text units of a text that begins with the prompt's words, which cannot be split


@dataclass(frozen=True)
class TextPart:
    """A part of a text that is decoded by itself.

    Attributes:
        encoded: Its text, symbols and words.
        ending: What it ends with.
        pause: Seconds of silence after it, where the text says how many; None: by `ending`.
        speed: Factor of the speaking rate.
        lead: Seconds of silence before it.
        chapter: Title of the chapter that begins with it; None: none begins.
    """

    encoded: EncodedText
    ending: Ending = "none"
    pause: float | None = None
    speed: float = 1.0
    lead: float = 0.0
    chapter: str | None = None


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Plans texts for a model.

    Attributes:
        encoder: Encodes sentences.
        language: espeak-ng language tag of the text; None: the model's default.
        strict: Whether what cannot be spoken is an error and not left out.
        one_sentence: Whether each sentence is a part, so that the pauses between them can be chosen.
    """

    encoder: TextEncoder
    language: str | None = None
    strict: bool = False
    one_sentence: bool = False

    def plan(self, text: str | Iterable[str]) -> Iterator[TextPart]:
        """Plan a text, see `valle.text.reading.read_script`.

        Args:
            text: The text, whole or in pieces.

        Yields:
            Its parts, each as soon as what follows it is known.

        Raises:
            UserError: The text is malformed, cannot be spoken, or holds nothing to say.
        """
        language = self.encoder.check_language(self.language)
        pending: list[EncodedText] = []
        part: TextPart | None = None  # what `pending` is packed into
        lead = 0.0
        empty = True
        for sentence in read_script(text, language):
            if not sentence.spans:
                lead += sentence.pause or 0.0
                continue
            encoded = self.encoder.encode(sentence, strict=self.strict, language=language)
            empty = False
            if part is not None and not self._fits(part, pending, sentence, encoded):
                yield from self._finished(part, pending)
                pending = []
                part = None
            if part is None:
                part = TextPart(encoded, speed=sentence.speed, lead=lead, chapter=sentence.chapter)
                lead = 0.0
            pending.append(encoded)
            part = replace(part, ending=sentence.ending, pause=sentence.pause)
            if self.one_sentence or sentence.ending == "paragraph" or sentence.pause is not None:
                yield from self._finished(part, pending)
                pending = []
                part = None
        if part is not None:
            yield from self._finished(part, pending)
        if empty:
            # Tells what is wrong with the text.
            normalize(text if isinstance(text, str) else "", language)
            raise UserError("the text holds nothing to say; give at least one word")

    def _fits(self, part: TextPart, pending: list[EncodedText], sentence: Sentence, encoded: EncodedText) -> bool:
        length = sum(self.encoder.units.length(list(e.symbols)) + 1 for e in (*pending, encoded)) - 1
        return length <= MAX_PART and part.speed == sentence.speed and sentence.chapter is None

    def _finished(self, part: TextPart, pending: list[EncodedText]) -> list[TextPart]:
        whole = replace(part, encoded=join_encoded(pending, self.encoder.units))
        pieces = split_encoded(whole.encoded, self.encoder.units)
        parts = [
            TextPart(encoded, ending, speed=part.speed, chapter=part.chapter if index == 0 else None)
            for index, (encoded, ending) in enumerate(pieces)
        ]
        parts[0] = replace(parts[0], lead=part.lead)
        parts[-1] = replace(parts[-1], ending=part.ending, pause=part.pause)
        return parts


def join_encoded(texts: list[EncodedText], units: TextUnits) -> EncodedText:
    """Join encoded sentences."""
    joined = texts[0]
    for following in texts[1:]:
        symbols = units.join(list(joined.symbols), list(following.symbols))
        between = len(symbols) - len(joined.symbols) - len(following.symbols)
        start = len(joined.symbols) + between
        # A space between two sentences is the only symbol that is added.
        ids = joined.ids + following.space * between + following.ids
        joined = EncodedText(
            text=f"{joined.text} {following.text}",
            symbols=tuple(symbols),
            ids=ids,
            language=joined.language,
            words=joined.words + tuple(_shifted(word, start) for word in following.words),
            marks=joined.marks + tuple((name, position + start) for name, position in following.marks),
            space=joined.space,
        )
    return joined


def split_encoded(text: EncodedText, units: TextUnits) -> list[tuple[EncodedText, Ending]]:
    """Split an encoded text into parts of at most `MAX_PART` units.

    Returns:
        The parts, and what each but the last ends with.
    """
    parts = split(list(text.symbols), MAX_PART, units.length)
    if len(parts) == 1:
        return [(text, "none")]
    pieces: list[tuple[EncodedText, Ending]] = []
    start = 0
    for number, part in enumerate(parts):
        while text.symbols[start] == " " and part.symbols[0] != " ":
            start += 1
        end = start + len(part.symbols)
        last = len(text.symbols) if number == len(parts) - 1 else end
        words = [word for word in text.words if start <= word.start < last]
        pieces.append(
            (
                EncodedText(
                    text=" ".join(word.text for word in words) or text.text,
                    symbols=text.symbols[start:end],
                    ids=text.ids[start:end],
                    language=text.language,
                    words=tuple(EncodedWord(w.text, w.start - start, min(w.end, end) - start) for w in words),
                    marks=tuple((name, at - start) for name, at in text.marks if start <= at < last),
                    space=text.space,
                ),
                "none" if part.boundary == "word" else part.boundary,
            )
        )
        start = end
    return pieces


def _shifted(word: EncodedWord, by: int) -> EncodedWord:
    return EncodedWord(word.text, word.start + by, word.end + by)
