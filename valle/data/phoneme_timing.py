"""When each phoneme symbol of a text is spoken, from the phones that were spoken."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np

from valle.text.phonemizer import PUNCTUATION, STRESS
from valle.text.phones import UNKNOWN, phone_class

_PAUSE = "|"


def symbol_starts(symbols: list[str], phones: tuple[tuple[str, float], ...]) -> list[float]:
    """The second at which each of `symbols` (as `valle.text.phonemize` makes them) begins, never falling.

    phones: each spoken phone and its start, "" for a pause; an accent of its own may speak some phones differently.
    A stretch that differs is spread evenly; stress marks and spaces begin with the phone they stand before.
    """
    heard: list[tuple[str, float]] = []
    for phone, start in phones:
        if phone or not heard or heard[-1][0] != _PAUSE:  # pauses in a row are one
            heard.append((phone or _PAUSE, start))
    places = [i for i, symbol in enumerate(symbols) if symbol != " " and symbol not in STRESS]
    written = [_PAUSE if symbols[i] in PUNCTUATION else symbols[i] for i in places]
    known: dict[int, float] = {}
    for _, i, i_end, j, j_end in SequenceMatcher(None, written, [p for p, _ in heard], autojunk=False).get_opcodes():
        for k in range(i, i_end):
            at = j + (k - i) * max(1, j_end - j) // (i_end - i)
            known[places[k]] = heard[min(at, len(heard) - 1)][1]
    starts: list[float] = []
    following = heard[-1][1]
    for i in reversed(range(len(symbols))):
        following = min(known.get(i, following), following)
        starts.append(following)
    return starts[::-1]


class SpokenPhones:
    """Which phone is spoken when: of the phones and the seconds they begin at, None where that is not known."""

    def __init__(self, phones: tuple[tuple[str, float], ...] | None) -> None:
        phones = phones or ()
        self.starts = np.array([start for _, start in phones])
        self.classes = np.array([UNKNOWN, *(phone_class(phone) for phone, _ in phones)])

    def at(self, seconds: np.ndarray) -> np.ndarray:
        """Class of the phone spoken at each of these seconds; UNKNOWN before the first."""
        return self.classes[np.searchsorted(self.starts, seconds, side="right")]
