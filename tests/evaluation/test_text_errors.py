"""Word and character errors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valle.evaluation.recognizer import words
from valle.evaluation.text_errors import align_words, character_errors, word_errors

WORDS = st.lists(st.sampled_from("abcd"), max_size=8)


def edits(a: list[str], b: list[str]) -> int:
    """Return the Levenshtein distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before = row
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


@given(WORDS, WORDS)
def test_errors_equal_levenshtein_distance(reference: list[str], transcript: list[str]) -> None:
    count, errors, _ = word_errors(" ".join(reference), " ".join(transcript))
    assert (count, errors) == (len(reference), edits(reference, transcript))
    text, other = "".join(reference), "".join(transcript)
    assert character_errors(text, other) == (len(text), edits(list(text), list(other)))
    parts = align_words(" ".join(reference), " ".join(transcript))
    assert " ".join(w for kind, w in parts if kind != "insert") == " ".join(reference)
    assert " ".join(w for kind, w in parts if kind != "delete") == " ".join(transcript)


def test_deleted_last_word_is_reported() -> None:
    assert word_errors("one two three", "one two").last_word_deleted
    assert not word_errors("one two three", "one three").last_word_deleted
    assert not word_errors("one two three", "one two tree").last_word_deleted


def test_normalization_removes_case_punctuation_and_spelling_variants() -> None:
    assert words("Mr. Brown saw TWENTY colours! ") == words("mister brown saw 20 colors")
