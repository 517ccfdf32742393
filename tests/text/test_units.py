"""Text units: phonemes and byte pair encoding."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valle.errors import UserError
from valle.text import TextUnits, read_bpe, train_bpe

SENTENCES = ["the old baker sold a loaf of bread.", "the young baker baked bread, and sold it!", "a loaf? an old loaf."]


@given(st.lists(st.sampled_from(" ".join(SENTENCES).split()), min_size=1, max_size=12))
def test_units_of_byte_pair_encoding_spell_the_text(words: list[str]) -> None:
    text = " ".join(words)
    (units,) = TextUnits(bpe=train_bpe(SENTENCES, 60))([text])
    assert "".join(units).replace("▁", " ").strip() == text


def test_more_units_are_longer_and_units_join_without_a_space() -> None:
    few, many = (TextUnits(bpe=train_bpe(SENTENCES, size)) for size in (30, 60))
    assert len(many(SENTENCES)[0]) < len(few(SENTENCES)[0])
    first, second = many(["the old baker", "sold bread"])
    assert many.join(first, second) == many(["the old baker sold bread"])[0]
    assert TextUnits().join(["a"], ["b"]) == ["a", " ", "b"]


def test_characters_in_no_unit_are_named() -> None:
    with pytest.raises(UserError, match="'x'"):
        TextUnits(bpe=train_bpe(SENTENCES, 40))(["a box"])
    with pytest.raises(UserError, match="fewer"):
        train_bpe(SENTENCES, 5)


def test_file_without_a_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    for content in (None, "{}", "words"):
        path = tmp_path / "bpe.json"
        if content is not None:
            path.write_text(content)
        with pytest.raises(UserError, match="valle-prepare bpe"):
            read_bpe(path)
