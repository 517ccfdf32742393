"""A text as it is to be spoken: sentences with their spans, pauses and marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# What a sentence ends with: "none", in the middle of a clause.
Ending = Literal["none", "clause", "sentence", "paragraph"]


@dataclass(frozen=True)
class Span:
    """Consecutive words that are read in one way.

    Attributes:
        text: The words as they are written.
        language: espeak-ng language tag; None: the language of the whole text.
        phonemes: Pronunciation in IPA that replaces that of the text; None: as the language reads it.
        alias: Words that are read in place of the text; None: the text.
        speed: Factor of the speaking rate.
    """

    text: str
    language: str | None = None
    phonemes: str | None = None
    alias: str | None = None
    speed: float = 1.0


@dataclass(frozen=True)
class Pause:
    """A pause of a given duration.

    Attributes:
        seconds: Its duration.
    """

    seconds: float


@dataclass(frozen=True)
class Break:
    """The end of a sentence or a paragraph that punctuation does not tell.

    Attributes:
        ending: What ends.
    """

    ending: Ending


@dataclass(frozen=True)
class Heading:
    """A line that begins a chapter.

    Attributes:
        title: The line.
    """

    title: str


@dataclass(frozen=True)
class Mark:
    """A named position in a text.

    Attributes:
        name: Its name.
        span: Index of the span of the sentence before which it stands; the number of spans: at the end.
    """

    name: str
    span: int = 0


# What a text is read as, before it is split into sentences.
Event = Span | Pause | Break | Heading | Mark


@dataclass(frozen=True)
class Sentence:
    """A sentence, or as much of one as stands between two pauses.

    Attributes:
        spans: Its words, in order; none where a text begins with a pause.
        ending: What it ends with.
        pause: Seconds of silence after it, where the text says how many; None: as usual after `ending`.
        marks: Named positions in it.
        chapter: Title of the chapter that begins with it; None: none begins.
    """

    spans: tuple[Span, ...]
    ending: Ending = "sentence"
    pause: float | None = None
    marks: tuple[Mark, ...] = ()
    chapter: str | None = None

    @property
    def text(self) -> str:
        """The words as they are written, with single spaces."""
        return " ".join("".join(span.text for span in self.spans).split())

    @property
    def speed(self) -> float:
        """Factor of the speaking rate, the same for all spans."""
        return self.spans[0].speed if self.spans else 1.0
