"""Normalization of written text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from valle.errors import UserError
from valle.text import TextWarning, normalize
from valle.text.normalization.numbers import cardinal, roman

CASES = [
    tuple(line.split("\t"))
    for line in Path(__file__).with_name("normalization.tsv").read_text(encoding="utf-8").splitlines()
]
PAGE = ROOT / "docs" / "text.md"


def bare(text: str) -> list[str]:
    """Words without case and punctuation."""
    return re.sub(r"[^\w ]", "", re.sub(r"[-,.?!;:]", " ", text.lower())).split()


@pytest.mark.filterwarnings("ignore::valle.text.TextWarning")
@pytest.mark.parametrize(("written", "spoken"), CASES, ids=[written for written, _ in CASES])
def test_english_classes_are_normalized(written: str, spoken: str) -> None:
    assert bare(normalize(written)) == bare(spoken)


@pytest.mark.filterwarnings("ignore::valle.text.TextWarning")
def test_examples_of_the_documentation_are_true() -> None:
    rows = re.findall(r"^\| [^|]+ \| `([^`]+)` \| ([^|]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 20
    assert {written: normalize(written) for written, _ in rows} == {written: spoken.strip() for written, spoken in rows}


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox jumps over the lazy dog.",
        "I may go in March, and we march on.",
        "No, I won't. No.",
        "He is in the room; it's ours, isn't it?",
        "Polish the polish, please!",
        "I am what I am.",
        "She saw Dr No and the St in the list.",
        "rock 'n' roll",
        "What is a word? A word is a word.",
        "an x ray of plan b",
        "A. Smith",
    ],
)
def test_plain_text_is_unchanged(text: str) -> None:
    expected = {
        "She saw Dr No and the St in the list.": "She saw Doctor No and the St in the list.",
        "A. Smith": "A Smith",
    }
    assert normalize(text) == expected.get(text, text)


@pytest.mark.parametrize(
    ("text", "spoken", "named"),
    [
        ("hello 🙂", "hello", "slightly smiling face"),
        ("Well [laughs] yes.", "Well yes.", "laughs"),
        ("a ★ b ★", "a b", "black star"),
        ("one | two", "one two", "vertical line"),
        ("👨‍👩‍👧 family", "family", "man"),
    ],
)
def test_unspeakable_parts_are_left_out_with_one_warning(text: str, spoken: str, named: str) -> None:
    with pytest.warns(TextWarning, match=named) as caught:
        assert normalize(text) == spoken
    assert len(caught) == 1
    with pytest.raises(UserError, match=named):
        normalize(text, strict=True)


@pytest.mark.parametrize("text", ["", "   ", "?!...", "🙂", "привет", "say привет", "你好", "[laughs]"])
def test_text_without_words_or_in_another_script_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UserError) as caught:
        normalize(text)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::valle.text.TextWarning")
@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), min_size=1, max_size=40).map(lambda t: f"a {t}")
)
def test_ascii_text_with_a_word_is_normalized_without_digits_or_signs(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z',.?!;: -]+", normalize(text))


@given(st.integers(0, 10**18))
def test_numbers_with_and_without_commas_have_the_same_name(number: int) -> None:
    plain, grouped = normalize(f"It is {number:,}."), normalize(f"x {number:,} y")
    assert plain.startswith("It is ")
    assert bare(plain)[2:] == bare(grouped)[1:-1]


@given(st.integers(1, 3999))
def test_roman_numerals_are_read(number: int) -> None:
    numerals = {1000: "M", 900: "CM", 500: "D", 400: "CD", 100: "C", 90: "XC", 50: "L", 40: "XL", 10: "X", 9: "IX"}
    text, rest = "", number
    for value, letters in (numerals | {5: "V", 4: "IV", 1: "I"}).items():
        text, rest = text + letters * (rest // value), rest % value
    assert roman(text) == number
    assert bare(normalize(f"Chapter {text}.")) == ["chapter", *cardinal(number).split()]


@pytest.mark.filterwarnings("ignore::valle.text.TextWarning")
@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_normalized_or_refused_in_one_line(text: str) -> None:
    try:
        result = normalize(text)
    except UserError as error:
        result = str(error)
    assert result.strip()
    assert "\n" not in result
