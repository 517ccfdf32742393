from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valle.text.reading import read_script
from valle.text.script import Span
from valle.text.segmentation import MAX_SENTENCE, split_sentences

GOLDEN_RULES = [
    line.split(" | ")
    for line in Path(__file__).with_name("golden_rules.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def sentences(text: str, language: str = "en-us") -> list[str]:
    return [sentence.text for sentence in split_sentences([Span(text)], language)]


def test_there_are_48_golden_rules() -> None:
    assert len(GOLDEN_RULES) == 48


@pytest.mark.parametrize("rule", GOLDEN_RULES, ids=[rule[0][:40] for rule in GOLDEN_RULES])
def test_golden_rules_of_english_segmentation(rule: list[str]) -> None:
    assert sentences(" ".join(rule)) == rule


def test_abbreviations_of_german() -> None:
    assert sentences("Er kam z.B. nach Berlin. Das ist gut.", "de") == ["Er kam z.B. nach Berlin.", "Das ist gut."]


def test_sentence_is_complete_with_the_word_after_it() -> None:
    def pieces() -> list[str]:
        return ["Good morn", "ing. ", "It is ", "late"]

    received: list[str] = []

    def recorded() -> object:
        for piece in pieces():
            received.append(piece)
            yield piece

    script = read_script(recorded())  # type: ignore[arg-type]
    assert next(script).text == "Good morning."
    assert received == pieces()[:3]


@given(
    st.lists(
        st.sampled_from(
            ["Dr. Ng", "left", "at 5 p.m.", "She", "said:", '"No."', "Why?", "...", "\n\n", "# One\n", "3.14", "1. x",
             "[pause 1s]", "[x](/iː/)", "Chapter 2", "\n", "- item\n", "— yes", "*** ", "e.g. a", "🙂"]
        ),
        max_size=20,
    ),
    st.lists(st.integers(1, 7), min_size=1, max_size=30),
)  # fmt: skip
def test_sentences_do_not_depend_on_how_the_text_arrives(words: list[str], sizes: list[int]) -> None:
    text = " ".join(words)
    pieces = []
    rest = text
    while rest:
        for size in sizes:
            pieces.append(rest[:size])
            rest = rest[size:]
    assert list(read_script(pieces)) == list(read_script(text))


@given(st.text(st.sampled_from("aB .!?,;\"'()\n1[]#-"), max_size=200))
def test_no_letter_is_lost(text: str) -> None:
    spoken = "".join(sentence.text for sentence in read_script(text))
    assert [c for c in spoken if c.isalpha()] == [c for c in text if c.isalpha()]


def test_text_without_punctuation_is_cut_between_words() -> None:
    text = "word " * 400
    parts = sentences(text)
    assert all(len(part) <= MAX_SENTENCE + len("word ") for part in parts)
    assert " ".join(parts) == text.strip()
