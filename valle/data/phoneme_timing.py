"""Phone alignments: the start of each phoneme symbol of a text, and the phone at any time."""

from __future__ import annotations

from difflib import SequenceMatcher

import numpy as np

from valle.text.phonemizer import PUNCTUATION, STRESS
from valle.text.phones import UNKNOWN, phone_class

# Stands for a pause of the recording and for a punctuation mark of the text, which are matched with each other.
_PAUSE = "|"


def symbol_starts(symbols: list[str], phones: tuple[tuple[str, float], ...]) -> list[float]:
    """Compute when each phoneme symbol of a text starts, from the aligned phones.

    The two sequences are matched, because a speaker's accent may differ from espeak-ng's. Where they differ, the
    symbols are spread evenly over the phones between the neighbouring matches. Stress marks and spaces start with the
    phone that follows them.

    Args:
        symbols: Phoneme symbols as returned by `valle.text.phonemize`.
        phones: `(phone, start)` pairs in temporal order, see `Utterance.phones`; at least one.

    Returns:
        Start of each symbol in seconds, non-decreasing.
    """
    aligned: list[tuple[str, float]] = []
    for phone, start in phones:
        # A text has one mark for a pause, however many silent phones the aligner found in it.
        if phone or not aligned or aligned[-1][0] != _PAUSE:
            aligned.append((phone or _PAUSE, start))
    positions = [i for i, symbol in enumerate(symbols) if symbol != " " and symbol not in STRESS]
    expected = [_PAUSE if symbols[i] in PUNCTUATION else symbols[i] for i in positions]
    start_at: dict[int, float] = {}
    matcher = SequenceMatcher(None, expected, [phone for phone, _ in aligned], autojunk=False)
    for _, first, last, aligned_first, aligned_last in matcher.get_opcodes():
        for k in range(first, last):
            index = aligned_first + (k - first) * max(1, aligned_last - aligned_first) // (last - first)
            start_at[positions[k]] = aligned[min(index, len(aligned) - 1)][1]
    # Backwards, so that a symbol without a phone of its own takes the start of the next one.
    starts: list[float] = []
    next_start = aligned[-1][1]
    for i in reversed(range(len(symbols))):
        next_start = min(start_at.get(i, next_start), next_start)
        starts.append(next_start)
    return starts[::-1]


class PhoneAlignment:
    """The aligned phones of a recording, as classes that can be looked up by time.

    Args:
        phones: `(phone, start)` pairs in temporal order, see `Utterance.phones`; None if they are not available.
    """

    def __init__(self, phones: tuple[tuple[str, float], ...] | None) -> None:
        phones = phones or ()
        self.starts = np.array([start for _, start in phones])
        self.classes = np.array([UNKNOWN, *(phone_class(phone) for phone, _ in phones)])

    def classes_at(self, times: np.ndarray) -> np.ndarray:
        """Look up the phone at each time.

        Args:
            times: (frames,) seconds from the start of the recording.

        Returns:
            (frames,) int64 phone classes of `valle.text.phones`; UNKNOWN before the first phone.
        """
        return self.classes[np.searchsorted(self.starts, times, side="right")]
