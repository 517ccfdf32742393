"""Phones of many tables as one small set of classes: what a phone loss learns and an aligner writes."""

from __future__ import annotations

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
