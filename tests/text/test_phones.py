"""Phone classes."""

from __future__ import annotations

import valle
from valle.extensions.phone_alignment import phones_of
from valle.text import phonemize
from valle.text.phones import ARPABET, PHONE_CLASSES, UNKNOWN, phone_class


def test_every_english_phone_has_a_class() -> None:
    texts = [
        "The quick brown fox jumps over a lazy dog near the river.",
        "Air, fear, poor, car, four, fire, hour, idea.",
        "A little button, a bottle, uh oh, pleasure, joy, church, thing, this, eight go.",
    ]
    phones = {symbol for symbols in phonemize(texts) for symbol in symbols} - set(" ,.ˈˌ")
    assert {phone for phone in phones if phone_class(phone) == UNKNOWN} == set()
    assert {phone_class(phone) for phone in ARPABET.values()} == set(range(len(PHONE_CLASSES)))


def test_variants_of_a_phone_share_a_class() -> None:
    assert phone_class("ɑːɹ") == phone_class("ɑː") == PHONE_CLASSES.index("ɑː")
    assert phone_class("ˈɔːɹ") == PHONE_CLASSES.index("ɔː")
    assert phone_class("ʁ") == UNKNOWN


def test_foreign_words_use_phones_of_the_model() -> None:
    tts = valle.load("small")
    for word in ("croissant", "Llanelli", "Bach", "Đà Nẵng", "Björk", "Aaaaah"):
        symbols = tts.encode_text(word).symbols
        assert phones_of(symbols)
