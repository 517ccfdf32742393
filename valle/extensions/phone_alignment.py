"""Align the phones that the first codebook encodes with the phones of the text.

The AR model sometimes leaves a word out, repeats one or falls silent. Where each first code of a codec stands for a
phone, this shows before anything is decoded to a waveform and without a recognizer: candidates are ranked, joined where
they pause, and the result is described by a `Quality`. Not in the papers; what it was worth is
told in docs/experiments.md.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from valle.text.phones import PHONE_CLASSES, UNKNOWN, phone_class

PAUSE = PHONE_CLASSES.index("")
LONGEST = 0.5  # seconds of a phone or a pause; frames beyond count as wrong, and a pause is cut to this length
SEAM = 0.08  # seconds that two candidates must both pause for to be joined there
MISSING = 0.08  # seconds of wrong frames that a phone without any frame counts as: about a phone's usual duration
_R_COLOURED = re.compile("(.+)([ɹɚ])")
# Shares of missing phones and of wrong frames above which speech is incomplete: words are missing, or are not those of
# the text; and above which it is doubtful: a part of a word is missing, or words are repeated.
MAX_MISSING, SOME_MISSING = 0.2, 0.1
MOSTLY_WRONG, SOME_WRONG = 0.5, 0.2
Verdict = Literal["complete", "doubtful", "incomplete"]


def phones_of(symbols: list[str]) -> list[int]:
    """Classes of the phones among a text's symbols: stress, spaces, marks and foreign phones are left out.

    A vowel that espeak-ng writes with a following /ɹ/ or /ɚ/ as one symbol is two phones here, as in the codes.
    """
    phones = [phone for symbol in symbols for phone in _R_COLOURED.sub(r"\1 \2", symbol).split(" ")]
    return [c for c in map(phone_class, phones) if c not in (PAUSE, UNKNOWN)]


@dataclass(frozen=True)
class Quality:
    """How well synthesized speech matches its text, by the alignment of phones.

    Attributes:
        phones: phones of the text.
        missing: phones of the text that no frame encodes.
        frames: frames of the speech, pauses included.
        wrong: frames that encode another phone than the one they are aligned with.
        tail: wrong frames after the last phone.
        frame_rate: frames per second.
    """

    phones: int
    missing: int
    frames: int
    wrong: int
    tail: int
    frame_rate: float

    @property
    def missing_phones(self) -> float:
        """Share of the text's phones that are missing, 0 to 1."""
        return self.missing / max(1, self.phones)

    @property
    def wrong_frames(self) -> float:
        """Share of the frames that encode another phone, 0 to 1."""
        return self.wrong / max(1, self.frames)

    @property
    def phones_per_second(self) -> float:
        """Speaking rate over the whole utterance, pauses included."""
        return (self.phones - self.missing) * self.frame_rate / max(1, self.frames)

    @property
    def tail_seconds(self) -> float:
        """Seconds of speech after the text's last phone."""
        return self.tail / self.frame_rate

    @property
    def verdict(self) -> Verdict:
        """Whether all of the text is spoken and little else."""
        if self.missing_phones > MAX_MISSING or self.wrong_frames > MOSTLY_WRONG:
            return "incomplete"
        return "doubtful" if self.missing_phones > SOME_MISSING or self.wrong_frames > SOME_WRONG else "complete"

    def __add__(self, other: Quality) -> Quality:
        return Quality(
            self.phones + other.phones,
            self.missing + other.missing,
            self.frames + other.frames,
            self.wrong + other.wrong,
            self.tail + other.tail,
            self.frame_rate,
        )


def align_phones(encoded: np.ndarray, text: list[int], frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Align frames with the text's phones in order at the least cost.

    A frame belongs to a phone of the text or to a pause before, between or after them. It costs 1 when it encodes
    another phone; the first frame of a phone must encode it. A phone may be skipped, which costs `MISSING`.

    Args:
        encoded: (time,) class of the phone that each frame's first code stands for.
        text: classes of the phones that should be spoken.
        frame_rate: frames per second.

    Returns:
        For each frame its state, `2 k + 1` for the k-th phone and `2 k` for the pause before it, in rising order; and
        its cost, with that of the phones skipped before it (after the last frame: with the last frame's), and 1 more
        where a phone or a pause has lasted for `LONGEST`.
    """
    if len(encoded) == 0:
        return np.zeros(0, dtype=int), np.zeros(0)
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text
    index = np.arange(len(states))
    skip = MISSING * frame_rate
    # A step from state s to a later state t skips the phones between them: before[t] - through[s] of them.
    before = index // 2
    through = (index + 1) // 2
    mismatch = (encoded[:, None] != states).astype(float)
    entry = np.where((index % 2 == 1) & (mismatch > 0), np.inf, mismatch)
    previous = np.zeros(mismatch.shape, dtype=int)
    cost = skip * before + entry[0]
    for frame in range(1, len(encoded)):
        potential = cost - skip * through
        lowest = np.minimum.accumulate(potential)
        is_new = np.concatenate(([True], potential[1:] < lowest[:-1]))
        source = np.maximum.accumulate(np.where(is_new, index, 0))
        stays = cost + mismatch[frame]
        enters = np.concatenate(([np.inf], lowest[:-1])) + skip * before + entry[frame]
        previous[frame] = np.where(enters < stays, np.concatenate(([0], source[:-1])), index)
        cost = np.minimum(stays, enters)
    state = int((cost + skip * (len(text) - through)).argmin())
    path = np.zeros(len(encoded), dtype=int)
    for frame in reversed(range(len(encoded))):
        path[frame] = state
        state = previous[frame, state]
    left = np.concatenate(([0], through[path[:-1]]))
    skipped = np.where(np.diff(path, prepend=-1) > 0, before[path] - left, 0)
    skipped[-1] += len(text) - through[path[-1]]
    lasted = np.arange(len(path)) - np.searchsorted(path, path)  # frames of the state before this one
    return path, mismatch[np.arange(len(path)), path] + skip * skipped + (lasted >= LONGEST * frame_rate)


def measure_quality(encoded: np.ndarray, text: list[int], frame_rate: float) -> Quality:
    """Measure how well speech matches its text; arguments as of `align_phones`."""
    path, _ = align_phones(encoded, text, frame_rate)
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text
    spoken = np.unique(path[path % 2 == 1])
    wrong = encoded != states[path]
    right = np.flatnonzero(~wrong & (path % 2 == 1))
    return Quality(
        phones=len(text),
        missing=len(text) - len(spoken),
        frames=len(encoded),
        wrong=int(wrong.sum()),
        tail=int(wrong[right[-1] + 1 if len(right) else 0 :].sum()),
        frame_rate=frame_rate,
    )

    # By candidate: cost so far, pieces, frame.


def join_candidates(
    candidates: list[np.ndarray], text: list[int], frame_rate: float, first: int = 0
) -> list[tuple[int, int, int]]:
    """Join the parts of several candidates that encode the text at the least cost.

    Args:
        candidates: of each (time,) as for `align_phones`.
        text: classes of the phones that should be spoken.
        frame_rate: frames per second.
        first: frame before which no candidate is cut.

    Returns:
        Pieces (candidate, start, end) in order. A piece ends where its candidate and the next one both pause at the
        same position of the text. Without such positions it is the candidate of the least cost.
    """
    arrived: dict[int, tuple[float, list[tuple[int, int, int]], int]] = {}  # by candidate: cost so far, pieces, frame
    pauses: dict[int, list[tuple[int, int]]] = {}  # by state: candidates and the middles of their pauses
    totals = {}
    for index, encoded in enumerate(candidates):
        if len(encoded) == 0:
            continue
        path, wrong = align_phones(encoded, text, frame_rate)
        arrived[index] = (0.0, [], 0)
        totals[index] = np.concatenate(([0.0], wrong.cumsum()))
        for state in range(2, 2 * len(text), 2):
            start, end = np.searchsorted(path, [state, state + 1])
            if end - start >= SEAM * frame_rate and (start + end) // 2 >= first:
                pauses.setdefault(state, []).append((index, int(start + end) // 2))
    if not arrived:
        return [(0, 0, len(candidates[0]))]

    def until(index: int, frame: int) -> tuple[float, list[tuple[int, int, int]]]:
        wrong, pieces, start = arrived[index]
        return wrong + totals[index][frame] - totals[index][start], [*pieces, (index, start, frame)]

    for state in sorted(pauses):
        ways = {index: until(index, frame) for index, frame in pauses[state]}
        least = min(ways, key=lambda index: ways[index][0])
        for index, frame in pauses[state]:
            if ways[index][0] > ways[least][0]:
                arrived[index] = (*ways[least], frame)
    ends = [until(index, len(candidates[index])) for index in arrived]
    return min(ends, key=lambda end: end[0])[1]


def frames_with_short_pauses(encoded: np.ndarray, frame_rate: float) -> np.ndarray:
    """Indices of the frames (time,) that stay when the middle of each pause longer than `LONGEST` is cut out."""
    limit = round(LONGEST * frame_rate)
    selected = []
    ends = np.flatnonzero(np.diff(encoded == PAUSE)) + 1
    for run in np.split(np.arange(len(encoded)), ends):
        long = len(run) > limit and encoded[run[0]] == PAUSE
        if long:
            run = np.concatenate((run[: limit // 2], run[len(run) - (limit - limit // 2) :]))
        selected.append(run)
    return np.concatenate(selected)
