"""Align the phones that the first codebook encodes with the phones of the text.

The AR model sometimes omits a word, repeats one or generates silence. Where each first code of a codec stands for a
phone, such errors can be detected before the codes are decoded to a waveform, without a recognizer: candidates are
ranked, joined in pauses, and the result is described by a `Quality`. This is not in the papers; docs/experiments.md
has its effect on WER.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from valle.text.phones import PHONE_CLASSES, UNKNOWN, phone_class

PAUSE = PHONE_CLASSES.index("")
# Maximum duration of a phone or a pause, in seconds. Frames beyond it count as wrong, and pauses are shortened to it.
MAX_DURATION = 0.5
# Seconds that a pause must last in both candidates for them to be joined there.
MIN_JOIN_PAUSE = 0.08
# Cost of a phone without any frame, in seconds of wrong frames: about the usual duration of a phone.
MISSING = 0.08
# Speech is incomplete, with words missing or wrong, above these shares of missing phones and of wrong frames.
MAX_MISSING = 0.2
MAX_WRONG = 0.5
# Speech is doubtful above these shares: a part of a word is missing, or words are repeated.
DOUBTFUL_MISSING = 0.1
DOUBTFUL_WRONG = 0.2
_R_COLOURED = re.compile("(.+)([ɹɚ])")
Verdict = Literal["complete", "doubtful", "incomplete"]


def phones_of(symbols: list[str]) -> list[int]:
    """Select the phones among the symbols of a text and return their classes.

    A vowel that espeak-ng writes as one symbol with a following /ɹ/ or /ɚ/ is two phones here, as in the labels of the
    codec.

    Args:
        symbols: Text units as of `valle.text.phonemize`.

    Returns:
        Indices into `PHONE_CLASSES`, without stress, spaces, punctuation and phones that have no class.
    """
    phones = [phone for symbol in symbols for phone in _R_COLOURED.sub(r"\1 \2", symbol).split(" ")]
    return [c for c in map(phone_class, phones) if c not in (PAUSE, UNKNOWN)]


@dataclass(frozen=True)
class Quality:
    """How well synthesized speech matches its text, by the alignment of phones.

    Attributes:
        phones: Number of phones of the text.
        missing: Number of phones of the text that no frame encodes.
        frames: Number of frames of the speech, including pauses.
        wrong: Number of frames that encode another phone than the one they are aligned with.
        tail: Number of wrong frames after the last correct phone.
        frame_rate: Frames per second.
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
        """Share of the frames that encode another phone than the aligned one, 0 to 1."""
        return self.wrong / max(1, self.frames)

    @property
    def phones_per_second(self) -> float:
        """Speaking rate of the whole utterance, including pauses."""
        return (self.phones - self.missing) * self.frame_rate / max(1, self.frames)

    @property
    def tail_seconds(self) -> float:
        """Duration of speech after the last phone of the text, in seconds."""
        return self.tail / self.frame_rate

    @property
    def verdict(self) -> Verdict:
        """Classify speech by its missing phones and wrong frames."""
        if self.missing_phones > MAX_MISSING or self.wrong_frames > MAX_WRONG:
            return "incomplete"
        return (
            "doubtful" if self.missing_phones > DOUBTFUL_MISSING or self.wrong_frames > DOUBTFUL_WRONG else "complete"
        )

    def __add__(self, other: Quality) -> Quality:
        """Return the quality of two utterances in sequence."""
        return Quality(
            self.phones + other.phones,
            self.missing + other.missing,
            self.frames + other.frames,
            self.wrong + other.wrong,
            self.tail + other.tail,
            self.frame_rate,
        )


def align_phones(
    encoded: np.ndarray, text: list[int], frame_rate: float, *, complete: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Align frames with the phones of the text, in order, at the minimum cost.

    The states are the phones of the text (state `2 k + 1` is the k-th phone) with a pause before, between and after
    them (state `2 k` is the pause before the k-th phone). Every frame belongs to one state, and states never decrease.
    A frame costs 1 when it encodes another phone than its state; the first frame of a phone must encode it. A phone
    may be skipped, which costs `MISSING` seconds of frames.

    This is dynamic programming. With `m[f, t]` = 1 where frame f mismatches state t, and `e[f, t]` the same but
    infinite for a phone that does not match, the minimum cost of ending in state t at frame f is

        cost[f, t] = min(cost[f - 1, t] + m[f, t],  min over s < t of (cost[f - 1, s] + skipped(s, t)) + e[f, t])

    where `skipped(s, t)` is the cost of the phones strictly between s and t.

    Args:
        encoded: (time,) class of the phone that each frame's first code stands for.
        text: Classes of the phones of the text.
        frame_rate: Frames per second.
        complete: Whether phones after the last frame are missing, as they are not in the beginning of speech.

    Returns:
        The state of each frame, (time,), non-decreasing; and the cost of each frame, (time,). The cost includes the
        phones skipped before the frame (for the last frame also those after it), and 1 where its phone or pause has
        already lasted for `MAX_DURATION`.
    """
    if len(encoded) == 0:
        return np.zeros(0, dtype=int), np.zeros(0)
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text
    index = np.arange(len(states))
    skip = MISSING * frame_rate
    # A step from state s to a later state t skips before[t] - through[s] phones. Since this difference has one term for
    # each state, the minimum over all s < t is a running minimum, and a frame takes O(states), not O(states ** 2).
    before = index // 2
    through = (index + 1) // 2
    mismatch = (encoded[:, None] != states).astype(float)
    entry = np.where((index % 2 == 1) & (mismatch > 0), np.inf, mismatch)
    previous = np.zeros(mismatch.shape, dtype=int)
    cost = skip * before + entry[0]
    for frame in range(1, len(encoded)):
        potential = cost - skip * through
        lowest = np.minimum.accumulate(potential)
        # source[s] is the state at which the running minimum up to s is reached; of equal ones, the first.
        is_new = np.concatenate(([True], potential[1:] < lowest[:-1]))
        source = np.maximum.accumulate(np.where(is_new, index, 0))
        stays = cost + mismatch[frame]
        enters = np.concatenate(([np.inf], lowest[:-1])) + skip * before + entry[frame]
        previous[frame] = np.where(enters < stays, np.concatenate(([0], source[:-1])), index)
        cost = np.minimum(stays, enters)

    # Phones after the last state are skipped too.
    state = int((cost + skip * (len(text) - through) if complete else cost).argmin())
    path = np.zeros(len(encoded), dtype=int)
    for frame in reversed(range(len(encoded))):
        path[frame] = state
        state = previous[frame, state]

    # The frame that enters a state has the cost of the phones skipped, so that costs of parts of the frames add up.
    left = np.concatenate(([0], through[path[:-1]]))
    skipped = np.where(np.diff(path, prepend=-1) > 0, before[path] - left, 0)
    skipped[-1] += (len(text) - through[path[-1]]) if complete else 0
    # The path is sorted, so searchsorted gives the first frame of each frame's state.
    too_long = np.arange(len(path)) - np.searchsorted(path, path) >= MAX_DURATION * frame_rate
    return path, mismatch[np.arange(len(path)), path] + skip * skipped + too_long


def measure_quality(encoded: np.ndarray, text: list[int], frame_rate: float) -> Quality:
    """Measure how well speech matches its text.

    Args:
        encoded: (time,) class of the phone that each frame's first code stands for.
        text: Classes of the phones of the text.
        frame_rate: Frames per second.

    Returns:
        The number of missing phones and wrong frames.
    """
    path, _ = align_phones(encoded, text, frame_rate)
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text
    present = np.unique(path[path % 2 == 1])
    wrong = encoded != states[path]
    correct = np.flatnonzero(~wrong & (path % 2 == 1))
    tail_start = correct[-1] + 1 if len(correct) else 0
    return Quality(
        phones=len(text),
        missing=len(text) - len(present),
        frames=len(encoded),
        wrong=int(wrong.sum()),
        tail=int(wrong[tail_start:].sum()),
        frame_rate=frame_rate,
    )


@dataclass(frozen=True)
class _Partial:
    """The best sequence of pieces that continues in one candidate.

    Attributes:
        cost: Cost of the complete pieces.
        pieces: (candidate, start, end) of each complete piece.
        start: Frame of the candidate at which its piece starts.
    """

    cost: float
    pieces: list[tuple[int, int, int]]
    start: int


def join_candidates(
    candidates: list[np.ndarray], text: list[int], frame_rate: float, first: int = 0
) -> list[tuple[int, int, int]]:
    """Join parts of several candidates to the sequence that encodes the text at the minimum cost.

    A piece ends where its candidate and the next one both pause between the same two phones of the text. This is
    dynamic programming over these pauses in the order of the text. With `C[i]` the cumulative alignment cost of
    candidate i and `p[i]` the middle of its pause, the minimum cost of a sequence that ends there in candidate i is

        reach[i] = cost[i] + C[i][p[i]] - C[i][start[i]]

    and every candidate with the pause continues from the minimum of `reach` if that is lower than its own.

    Args:
        candidates: Each (time,), the class of the phone that each frame's first code stands for.
        text: Classes of the phones of the text.
        frame_rate: Frames per second.
        first: Frame before which no candidate is cut.

    Returns:
        Pieces (candidate, start, end) in order; the whole candidate of the minimum cost where no two candidates pause
        at the same position.
    """
    partials: dict[int, _Partial] = {}
    # For each pause state: candidates that pause there, with the middle frame of the pause.
    pauses: dict[int, list[tuple[int, int]]] = {}
    cumulative_cost = {}
    for index, encoded in enumerate(candidates):
        if len(encoded) == 0:
            continue
        path, cost = align_phones(encoded, text, frame_rate)
        partials[index] = _Partial(0.0, [], 0)
        cumulative_cost[index] = np.concatenate(([0.0], cost.cumsum()))
        for state in range(2, 2 * len(text), 2):
            start, end = np.searchsorted(path, [state, state + 1])
            if end - start >= MIN_JOIN_PAUSE * frame_rate and (start + end) // 2 >= first:
                pauses.setdefault(state, []).append((index, int(start + end) // 2))
    if not partials:
        return [(0, 0, len(candidates[0]))]

    def reach(index: int, frame: int) -> tuple[float, list[tuple[int, int, int]]]:
        """Cost and pieces of the best sequence that ends at a frame of a candidate."""
        partial = partials[index]
        cost = partial.cost + cumulative_cost[index][frame] - cumulative_cost[index][partial.start]
        return cost, [*partial.pieces, (index, partial.start, frame)]

    for state in sorted(pauses):
        reached = {index: reach(index, frame) for index, frame in pauses[state]}
        best_cost, best_pieces = min(reached.values(), key=lambda way: way[0])
        for index, frame in pauses[state]:
            # A candidate that is as good as the best is not cut: fewer joins.
            if reached[index][0] > best_cost:
                partials[index] = _Partial(best_cost, best_pieces, frame)
    complete = [reach(index, len(candidates[index])) for index in partials]
    return min(complete, key=lambda way: way[0])[1]


def frames_with_short_pauses(encoded: np.ndarray, frame_rate: float) -> np.ndarray:
    """Select the frames that remain when the middle of every pause longer than `MAX_DURATION` is removed.

    Args:
        encoded: (time,) class of the phone that each frame's first code stands for.
        frame_rate: Frames per second.

    Returns:
        Indices of the remaining frames, increasing.
    """
    limit = round(MAX_DURATION * frame_rate)
    selected = []
    boundaries = np.flatnonzero(np.diff(encoded == PAUSE)) + 1
    for run in np.split(np.arange(len(encoded)), boundaries):
        is_long_pause = len(run) > limit and encoded[run[0]] == PAUSE
        if is_long_pause:
            run = np.concatenate((run[: limit // 2], run[len(run) - (limit - limit // 2) :]))
        selected.append(run)
    return np.concatenate(selected)
