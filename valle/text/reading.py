"""Read a text, plain with marks or SSML, as sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from valle.text.markup import read_marks
from valle.text.script import Sentence
from valle.text.segmentation import split_sentences
from valle.text.ssml import read_ssml

_ROOTS = ("<speak", "<?xml", "<!DOCTYPE")


def read_script(pieces: str | Iterable[str], language: str = "en-us") -> Iterator[Sentence]:
    """Read a text as sentences.

    Args:
        pieces: The text, whole, or in pieces as they arrive. It is SSML where it begins with `<speak`, which is read
            when it is complete; else plain text with marks (docs/text.md), each sentence of which is complete as soon
            as the word after it is.
        language: espeak-ng language tag.

    Yields:
        Its sentences.

    Raises:
        UserError: A mark or the SSML is malformed.
    """
    stream = iter([pieces] if isinstance(pieces, str) else pieces)
    beginning = ""
    for piece in stream:
        beginning += piece
        start = beginning.lstrip("\ufeff \t\r\n")
        if not any(root.startswith(start) for root in _ROOTS):
            break
    if beginning.lstrip("\ufeff \t\r\n").startswith(_ROOTS):
        events = read_ssml(beginning.lstrip("\ufeff") + "".join(stream))
    else:
        events = read_marks(_chain(beginning.lstrip("\ufeff"), stream))
    return split_sentences(events, language)


def _chain(beginning: str, rest: Iterator[str]) -> Iterator[str]:
    yield beginning
    yield from rest
