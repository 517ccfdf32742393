"""A text as it is to be spoken: sentences with their spans, pauses, speed and marks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Break = Literal["none", "clause", "sentence", "paragraph"]


@dataclass(frozen=True)
class Span:
    """Consecutive words that are read in one way.

    Attributes:
        text: The words as they are written.
        language: espeak-ng language tag; None: the language of the whole text.
        phonemes: Pronunciation in IPA that replaces that of the text; None: as the language reads it.
    """

    text: str
    language: str | None = None
    phonemes: str | None = None


@dataclass(frozen=True)
class Mark:
    """A named position in a text.

    Attributes:
        name: Its name.
        span: Index of the span of the sentence before which it stands; the number of spans: at the end.
    """

    name: str
    span: int


@dataclass(frozen=True)
class Sentence:
    """A sentence, or as much of one as stands between two pauses.

    Attributes:
        spans: Its words, in order.
        end: What it ends with.
        pause: Seconds of silence after it, where the text says how many; None: as usual after `end`.
        speed: Factor of the speaking rate.
        marks: Named positions in it.
        chapter: Title of the chapter that begins with it; None: none begins.
    """

    spans: tuple[Span, ...]
    end: Break = "sentence"
    pause: float | None = None
    speed: float = 1.0
    marks: tuple[Mark, ...] = ()
    chapter: str | None = None

    @property
    def text(self) -> str:
        """The words as they are written, with single spaces between the spans."""
        return " ".join(" ".join(span.text for span in self.spans).split())
