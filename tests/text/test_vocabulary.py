"""The vocabulary of a model."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valle.errors import UserError
from valle.text import PADDING, Vocabulary


@given(st.lists(st.sampled_from("abcdefg"), max_size=8))
def test_ids_are_positions_in_the_vocabulary(symbols: list[str]) -> None:
    vocabulary = Vocabulary([PADDING, *"abcdefg"])
    assert [vocabulary.symbols[index] for index in vocabulary.encode(symbols)] == symbols


def test_symbols_missing_from_the_vocabulary_are_named() -> None:
    with pytest.raises(UserError, match="'ʒ'"):
        Vocabulary([PADDING, "a"]).encode(["a", "ʒ"])
