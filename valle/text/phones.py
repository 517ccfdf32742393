"""Phones of several alphabets as one small set of classes, for phone losses and alignments."""

from __future__ import annotations

import unicodedata
from collections.abc import Container

from valle.text.phonemizer import PUNCTUATION, STRESS

# ARPABET, as CMU's dictionary and American synthesizers use it -> phones of espeak-ng; a pause is "".
_ARPABET = """aa:ɑː ae:æ ah:ʌ ao:ɔː aw:aʊ ax:ə axr:ɚ ay:aɪ b:b ch:tʃ d:d dh:ð dx:ɾ eh:ɛ el:əl em:m en:n̩ er:ɚ ey:eɪ
f:f g:ɡ hh:h ih:ɪ iy:iː jh:dʒ k:k l:l m:m n:n ng:ŋ ow:oʊ oy:ɔɪ p:p r:ɹ s:s sh:ʃ t:t th:θ uh:ʊ uw:uː v:v w:w y:j z:z
zh:ʒ pau: h#: sil: ssil: brth:"""
ARPABET = dict(pair.split(":", 1) for pair in _ARPABET.split())

# Phone -> the phone of its class. These are phones that not every alphabet distinguishes, and vowels with a following
# one, which count as the first.
_VARIANTS = """ə>ʌ ɐ>ʌ ᵻ>ɪ i>iː iə>iː ɾ>t ʔ>t n̩>n əl>l ɚ>ɜː aɪə>aɪ aɪɚ>aɪ ɔ>ɔː ɒ>ɑː a>æ o>oʊ əʊ>oʊ r>ɹ oː>ɔː u>uː"""
_SAME = dict(pair.split(">") for pair in _VARIANTS.split())
PHONE_CLASSES = (
    "", "aɪ", "aʊ", "b", "d", "dʒ", "eɪ", "f", "h", "iː", "j", "k", "l", "m", "n", "oʊ", "p", "s", "t", "tʃ", "uː",
    "v", "w", "z", "æ", "ð", "ŋ", "ɑː", "ɔɪ", "ɔː", "ɛ", "ɜː", "ɡ", "ɪ", "ɹ", "ʃ", "ʊ", "ʌ", "ʒ", "θ",
)  # fmt: skip
_INDEX = {phone: index for index, phone in enumerate(PHONE_CLASSES)}
# Cross entropy ignores this class as a target.
UNKNOWN = -100


def phone_class(phone: str) -> int:
    """Return the index in PHONE_CLASSES of a phone in espeak-ng's notation; UNKNOWN for a phone of another language."""
    phone = phone.strip(STRESS + PUNCTUATION + " ")
    phone = _SAME.get(phone, phone)
    # espeak-ng writes an r-coloured vowel as one phone: ɑːɹ, ɔːɹ, ɛɹ.
    if phone not in _INDEX and phone.endswith("ɹ"):
        phone = phone[:-1]
        phone = _SAME.get(phone, phone)
    return _INDEX.get(phone, UNKNOWN)


# Phones that espeak-ng emits for names and foreign words in an English text -> phones of American English.
_NEAREST = """
a>æ aː>ɑː ɑ>ɑː ɑ̃>ɑː+n ɒ>ɑː ɐɐ>ə e>ɛ eː>eɪ ɛː>ɛ ɛ̃>ɛ+n ə>ʌ əʊ>oʊ ɘ>ə i>iː ɨ>ᵻ y>iː yː>uː ø>ɜː øː>ɜː œ>ɜː œ̃>ɜː+n
o>oʊ oː>oʊ oːɹ>ɔːɹ ɔ>ɔː ɔ̃>ɔː+n ɔø>ɔɪ u>uː ɯ>uː ʏ>ʊ ɪː>iː ʊə>ʊɹ eə>ɛɹ ɛə>ɛɹ ɪə>ɪɹ aɪə>aɪ aɪɚ>aɪ+ɚ iə>iː+ə ai>aɪ
au>aʊ ei>eɪ ou>oʊ oi>ɔɪ β>v c>k ç>h ɟ>dʒ ɣ>ɡ g>ɡ ɦ>h ɥ>w ʝ>j ɫ>l ɬ>l ʎ>l ɭ>l l̩>əl m̩>m n̩>n ɲ>n ɳ>n ŋ̩>ŋ ɸ>f
q>k ʀ>ɹ ʁ>ɹ r>ɹ ɽ>ɹ rr>ɹ ɻ>ɹ ʂ>ʃ ʐ>ʒ ɕ>ʃ ʑ>ʒ tɕ>tʃ dʑ>dʒ ts>t+s dz>d+z pf>p+f ʈ>t ɖ>d ʋ>v x>k χ>h ħ>h ʕ> ʔ>t ɾ>t
ʰ> ʲ> ː> ̃> tʲ>t dʲ>d nʲ>n lʲ>l sʲ>s zʲ>z rʲ>ɹ mʲ>m
"""
NEAREST = {phone: other.split("+") for phone, other in (pair.split(">") for pair in _NEAREST.split())}


def nearest_phones(phone: str, available: Container[str]) -> list[str] | None:
    """Replace a phone by the nearest available ones.

    A phone that is not in the table is reduced to its letters without length and diacritics, then replaced letter by
    letter.

    Args:
        phone: A phone in espeak-ng's notation.
        available: Phones that a model has.

    Returns:
        The phones, or none where the phone is only a diacritic; None where there is no replacement.
    """
    if phone in available:
        return [phone]
    if phone in NEAREST:
        replacements = [nearest_phones(other, available) for other in NEAREST[phone] if other]
        if None not in replacements:
            return [p for phones in replacements for p in phones or []]
    base = "".join(c for c in unicodedata.normalize("NFD", phone) if unicodedata.category(c) not in ("Mn", "Lm"))
    if base not in (phone, ""):
        return nearest_phones(base, available)
    if len(base) > 1:
        letters = [nearest_phones(letter, available) for letter in base]
        return None if None in letters else [p for phones in letters for p in phones or []]
    return [] if not base else None
