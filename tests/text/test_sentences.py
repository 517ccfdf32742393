"""Splitting of long texts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valle.text import TextUnits, normalize, train_bpe
from valle.text.sentences import split

WORD = st.text("abcdefgh", min_size=1, max_size=9)
TOKEN = st.tuples(WORD, st.sampled_from(["", "", "", ",", ";", ".", "?", "!"]))


def symbols_of(tokens: list[tuple[str, str]]) -> list[str]:
    return list(" ".join(word + mark for word, mark in tokens))


@given(st.lists(TOKEN, min_size=1, max_size=60), st.integers(5, 80))
def test_parts_are_short_enough_and_contain_every_symbol_in_order(tokens: list[tuple[str, str]], limit: int) -> None:
    symbols = symbols_of(tokens)
    parts = split(symbols, limit)
    assert all(0 < len(part.symbols) <= limit for part in parts)
    assert [s for part in parts for s in part.symbols if s != " "] == [s for s in symbols if s != " "]
    assert all(part.symbols[0] != " " != part.symbols[-1] for part in parts)
    if len(symbols) <= limit:
        assert len(parts) == 1


@given(st.lists(TOKEN, min_size=2, max_size=60))
def test_words_are_not_split_while_there_is_a_space(tokens: list[tuple[str, str]]) -> None:
    words = "".join(symbols_of(tokens)).split()
    parts = split(symbols_of(tokens), 12)
    assert [word for part in parts for word in "".join(part.symbols).split()] == words
    assert all(part.boundary != "none" for part in parts[:-1])
    assert parts[-1].boundary == "none"


def test_sentence_ends_are_preferred_to_clauses_and_clauses_to_words() -> None:
    def parts(text: str, limit: int) -> list[tuple[str, str]]:
        return [("".join(part.symbols), part.boundary) for part in split(list(text), limit)]

    assert parts("one two, three four. five six", 25) == [("one two, three four.", "sentence"), ("five six", "none")]
    assert parts("one two, three four five", 20) == [("one two,", "clause"), ("three four five", "none")]
    assert parts("one two three four", 10) == [("one two", "word"), ("three four", "none")]
    assert parts("abcdefgh", 4) == [("abcd", "none"), ("efgh", "none")]


def test_units_of_byte_pair_encoding_are_split_at_words() -> None:
    text = "the old baker sold a loaf of bread. the young baker baked bread, and sold it!"
    units = TextUnits(bpe=train_bpe([text], 60))
    (symbols,) = units([normalize(text)])
    parts = split(symbols, 45, units.length)
    assert ["".join(part.symbols).replace("▁", " ").strip() for part in parts] == [
        "the old baker sold a loaf of bread.",
        "the young baker baked bread, and sold it!",
    ]
