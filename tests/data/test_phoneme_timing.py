"""Start times of phoneme symbols."""

from __future__ import annotations

from valle.data.phoneme_timing import symbol_starts


def test_symbols_start_with_their_phones_in_any_accent() -> None:
    symbols = ["h", "ˈ", "ɜː", " ", "b", "ˈ", "æ", "θ", ",", " ", "n", "ˈ", "oʊ", "."]
    phones = (("h", 0.1), ("ɜ", 0.2), ("ɹ", 0.25), ("b", 0.3), ("a", 0.4), ("θ", 0.5), ("", 0.6), ("", 0.7))
    phones += (("n", 0.8), ("əʊ", 0.9), ("", 1.1))
    starts = [0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4, 0.5, 0.6, 0.8, 0.8, 0.9, 0.9, 1.1]
    assert symbol_starts(symbols, phones) == starts
