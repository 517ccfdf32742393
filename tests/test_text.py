"""Text to phonemes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from valle.errors import UserError
from valle.text import PADDING, TextUnits, Vocabulary, normalize, phonemize, read_bpe, train_bpe


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


SENTENCES = ["the old baker sold a loaf of bread.", "the young baker baked bread, and sold it!", "a loaf? an old loaf."]


@given(st.lists(st.sampled_from(" ".join(SENTENCES).split()), min_size=1, max_size=12))
def test_units_of_byte_pair_encoding_spell_the_text(words: list[str]) -> None:
    text = " ".join(words)
    (units,) = TextUnits(bpe=train_bpe(SENTENCES, 60))([text])
    assert "".join(units).replace("▁", " ").strip() == text


def test_units_grow_with_their_number_and_join_without_a_space() -> None:
    few, many = (TextUnits(bpe=train_bpe(SENTENCES, size)) for size in (30, 60))
    assert len(many(SENTENCES)[0]) < len(few(SENTENCES)[0])
    first, second = many(["the old baker", "sold bread"])
    assert many.join(first, second) == many(["the old baker sold bread"])[0]
    assert TextUnits().join(["a"], ["b"]) == ["a", " ", "b"]


def test_a_character_that_no_unit_holds_is_named() -> None:
    with pytest.raises(UserError, match="'x'"):
        TextUnits(bpe=train_bpe(SENTENCES, 40))(["a box"])
    with pytest.raises(UserError, match="fewer"):
        train_bpe(SENTENCES, 5)


def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path: Path) -> None:
    for content in (None, "{}", "words"):
        path = tmp_path / "bpe.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(UserError, match="valle-prepare bpe"):
            read_bpe(path)
