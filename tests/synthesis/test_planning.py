"""Texts are packed into parts."""

from __future__ import annotations

import pytest

import valle
from valle.errors import UserError
from valle.synthesis import TTS, SynthesisOptions
from valle.synthesis.planning import MAX_PART

SHORT = "It rained all day. "
LONG = "She told him that the old bridge was too narrow for trucks, so they had to take the long road instead. "


@pytest.fixture(scope="module")
def small() -> TTS:
    return valle.load("small")


def test_whole_sentences_are_packed_into_parts(small: TTS) -> None:
    parts = list(small.plan(SHORT * 20))
    assert 1 < len(parts) < 20
    assert all(len(part.encoded.symbols) <= MAX_PART for part in parts)
    assert all(part.encoded.text.endswith("day.") for part in parts)
    assert " ".join(part.encoded.text for part in parts) == (SHORT * 20).strip()
    assert [part.ending for part in parts] == ["sentence"] * (len(parts) - 1) + ["paragraph"]


def test_symbols_of_one_sentence_are_those_of_encode_text(small: TTS) -> None:
    for text in (SHORT.strip(), LONG.strip(), "It costs $20.50, Dr. Ng."):
        (part,) = small.plan(text)
        assert part.encoded == small.encode_text(text)


def test_paragraphs_pauses_and_speeds_divide_parts(small: TTS) -> None:
    parts = list(small.plan("One.\n\nTwo. [pause 2s] Three."))
    assert [(part.encoded.text, part.ending, part.pause) for part in parts] == [
        ("One.", "paragraph", None),
        ("Two.", "sentence", 2.0),
        ("Three.", "paragraph", None),
    ]
    parts = list(small.plan('<speak>One. <prosody rate="80%">Two.</prosody></speak>'))
    assert [(part.encoded.text, part.speed) for part in parts] == [("One.", 1.0), ("Two.", 0.8)]
    (part,) = small.plan("[pause 1s] One.")
    assert part.lead == 1.0


def test_chosen_pauses_make_each_sentence_a_part(small: TTS) -> None:
    assert len(list(small.plan(SHORT * 4))) == 1
    assert len(list(small.plan(SHORT * 4, SynthesisOptions(pause_sentence=0.5)))) == 4


def test_overlong_sentence_is_split_with_its_words(small: TTS) -> None:
    text = "We walked " + "along the river, over the hill, " * 12 + "and home."
    parts = list(small.plan(text))
    assert len(parts) > 2
    assert all(len(part.encoded.symbols) <= MAX_PART for part in parts)
    words = [word.text for part in parts for word in part.encoded.words]
    assert words == text.split()
    for part in parts:
        assert all(word.end <= len(part.encoded.symbols) for word in part.encoded.words)
        assert part.encoded.ids == tuple(small.vocabulary.encode(list(part.encoded.symbols)))


def test_parts_come_while_the_text_arrives(small: TTS) -> None:
    received = 0

    def pieces() -> object:
        nonlocal received
        for _ in range(100):
            received += 1
            yield LONG

    parts = small.plan(pieces())  # type: ignore[arg-type]
    next(parts)
    assert received < 10


@pytest.mark.parametrize("text", ["", " \n", "?!", [], ["", " "]])
def test_nothing_to_say_is_an_error(small: TTS, text: str | list[str]) -> None:
    with pytest.raises(UserError, match="nothing to say; give at least one word"):
        list(small.plan(text))
