"""Phones of many tables as one small set of classes: what a phone loss learns and an aligner writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Container

from valle.text.phonemizer import PUNCTUATION, STRESS

# The ARPABET of CMU's dictionary and of the American synthesizers -> the phones of espeak-ng; pauses are "".
_ARPABET = """aa:ɑː ae:æ ah:ʌ ao:ɔː aw:aʊ ax:ə axr:ɚ ay:aɪ b:b ch:tʃ d:d dh:ð dx:ɾ eh:ɛ el:əl em:m en:n̩ er:ɚ ey:eɪ
f:f g:ɡ hh:h ih:ɪ iy:iː jh:dʒ k:k l:l m:m n:n ng:ŋ ow:oʊ oy:ɔɪ p:p r:ɹ s:s sh:ʃ t:t th:θ uh:ʊ uw:uː v:v w:w y:j z:z
zh:ʒ pau: h#: sil: ssil: brth:"""
ARPABET = dict(pair.split(":", 1) for pair in _ARPABET.split())

# Of phones that tables tell apart or not, the one that stands for them; of a vowel with a following one, the vowel.
_ALIKE = """ə>ʌ ɐ>ʌ ᵻ>ɪ i>iː iə>iː ɾ>t ʔ>t n̩>n əl>l ɚ>ɜː aɪə>aɪ aɪɚ>aɪ ɔ>ɔː ɒ>ɑː a>æ o>oʊ əʊ>oʊ r>ɹ oː>ɔː u>uː"""
_SAME = dict(pair.split(">") for pair in _ALIKE.split())
PHONE_CLASSES = (
    "", "aɪ", "aʊ", "b", "d", "dʒ", "eɪ", "f", "h", "iː", "j", "k", "l", "m", "n", "oʊ", "p", "s", "t", "tʃ", "uː",
    "v", "w", "z", "æ", "ð", "ŋ", "ɑː", "ɔɪ", "ɔː", "ɛ", "ɜː", "ɡ", "ɪ", "ɹ", "ʃ", "ʊ", "ʌ", "ʒ", "θ",
)  # fmt: skip
_INDEX = {phone: index for index, phone in enumerate(PHONE_CLASSES)}
UNKNOWN = -100  # what cross entropy leaves out


def phone_class(phone: str) -> int:
    """Index into PHONE_CLASSES of a phone as espeak-ng writes it; UNKNOWN for one of another language."""
    phone = phone.strip(STRESS + PUNCTUATION + " ")
    phone = _SAME.get(phone, phone)
    if phone not in _INDEX and phone.endswith("ɹ"):  # ɑːɹ, ɔːɹ, ɛɹ, ...
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


def nearest_phones(phone: str, known: Container[str]) -> list[str] | None:
    """Phones among `known` to say instead of one that is not; None when there are none.

    A phone that is not in the table is taken without its length and diacritics, then letter by letter.
    """
    if phone in known:
        return [phone]
    if phone in NEAREST:
        found = [nearest_phones(other, known) for other in NEAREST[phone] if other]
        if None not in found:
            return [p for others in found for p in others or []]
    base = "".join(c for c in unicodedata.normalize("NFD", phone) if unicodedata.category(c) not in ("Mn", "Lm"))
    if base not in (phone, ""):
        return nearest_phones(base, known)
    if len(base) > 1:
        pieces = [nearest_phones(c, known) for c in base]
        return None if None in pieces else [p for piece in pieces for p in piece or []]
    return [] if not base else None
