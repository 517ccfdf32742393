"""Text to phonemes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valle.errors import UserError
from valle.text import PADDING, Vocabulary, normalize, phonemize


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It costs $3.", "It costs three dollars."),
        ("Dr. Smith has 21 cats", "Doctor Smith has twenty one cats"),
        ("“Hello” — she said…", "Hello, she said..."),
    ],
)
def test_english_is_normalized(written: str, spoken: str) -> None:
    assert normalize(written).lower() == spoken.lower()


@pytest.mark.parametrize("text", ["", "   ", "0¢", "?!...", "hello 🙂", "привет"])
def test_what_cannot_be_spoken_is_said_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        normalize(text)
    assert "\n" not in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_normalized_or_refused_in_one_line(text: str) -> None:
    try:
        said = normalize(text)
    except UserError as error:
        said = str(error)
    assert said.strip()
    assert "\n" not in said


def test_phonemes_keep_words_stress_and_punctuation_and_batches_do_not_mix() -> None:
    both = phonemize(["Hello, world.", "Yes?"])
    assert both == [phonemize(["Hello, world."])[0], phonemize(["Yes?"])[0]]
    assert {",", ".", " ", "ˈ"} <= set(both[0])
    assert both[1][-1] == "?"


def test_other_languages_are_phonemized_and_unknown_ones_named() -> None:
    assert phonemize(["Guten Morgen"], "de")[0]
    with pytest.raises(UserError, match="xx-none"):
        phonemize(["hello"], "xx-none")


@given(st.lists(st.lists(st.sampled_from("abcdefg"), max_size=8), min_size=1, max_size=5))
def test_a_vocabulary_gives_back_what_it_encoded(utterances: list[list[str]]) -> None:
    vocabulary = Vocabulary.from_utterances(utterances)
    for utterance in utterances:
        assert vocabulary.decode(vocabulary.encode(utterance)) == utterance


def test_an_unknown_symbol_is_named() -> None:
    with pytest.raises(UserError, match="'ʒ'"):
        Vocabulary([PADDING, "a"]).encode(["a", "ʒ"])
