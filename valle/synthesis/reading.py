"""Does speech say its text? Read from the first codes themselves, where each stands for a phone.

The AR model now and then leaves a word out, says one twice or falls silent. Where the codec tells which phone a first
code stands for, that is seen before anything is decoded, without a recogniser, and the best of several draws is kept.
"""

from __future__ import annotations

import numpy as np

from valle.text.phones import PHONE_CLASSES, UNKNOWN, phone_class

PAUSE = PHONE_CLASSES.index("")
LONGEST = 0.5  # seconds: of a phone or a pause; all beyond is wrong, and a pause is cut to it
SEAM = 0.08  # seconds of a pause in which two draws can be put together


def phones_of(symbols: list[str]) -> list[int]:
    """Classes of the phones among a text's symbols: stress, spaces, marks and foreign phones are left out."""
    return [c for c in map(phone_class, symbols) if c not in (PAUSE, UNKNOWN)]


def aligned(said: np.ndarray, text: list[int], frame_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Give frames to the text's phones in order, to each at least one, and between them to pauses, so that as few as
    can be are of another phone than the one they are given to.

    said: (time,) class of the phone that each frame's first code stands for; text: classes of what should be said.
    Returns for each frame its state, 2 k + 1 for the k-th phone and 2 k for the pause before it, and what is wrong with
    it: 1 for being of another phone, 1 for being past what may last `LONGEST`; all infinity where it cannot be done.
    """
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text
    wrong = (said[:, None] != states).astype(float)
    cost = np.full(len(states), np.inf)
    cost[:2] = wrong[0, :2]
    steps = np.zeros(wrong.shape, dtype=int)  # states passed since the frame before
    for frame in range(1, len(said)):
        ways = np.full((3, len(states)), np.inf)
        ways[0] = cost
        ways[1, 1:] = cost[:-1]
        ways[2, 3::2] = cost[1:-2:2]  # from phone to phone, without a pause
        steps[frame] = ways.argmin(0)
        cost = ways.min(0) + wrong[frame]
    state = len(states) - (1 if cost[-1] <= cost[-2] else 2)
    if np.isinf(cost[state]):
        return np.zeros(len(said), dtype=int), np.full(len(said), np.inf)
    path = np.zeros(len(said), dtype=int)
    for frame in reversed(range(len(said))):
        path[frame] = state
        state -= steps[frame, state]
    lasted = np.arange(len(path)) - np.searchsorted(path, path)  # frames of the state before this one
    return path, wrong[np.arange(len(path)), path] + (lasted >= LONGEST * frame_rate)


def spliced(draws: list[np.ndarray], text: list[int], frame_rate: float, first: int = 0) -> list[tuple[int, int, int]]:
    """The clearest reading that several draws of the same text hold: pieces (draw, start, end), to be put together.

    draws: of each (time,) what its frames say, as for `aligned`; first: frame before which none is parted
    A piece ends where its draw and the next one both pause at the same place of the text. Without such places it is the
    draw that has least wrong with it.
    """
    readings = [aligned(said, text, frame_rate) if len(said) and text else None for said in draws]
    arrived: dict[int, tuple[float, list[tuple[int, int, int]], int]] = {}  # per draw: wrong so far, pieces, frame
    pauses: dict[int, list[tuple[int, int]]] = {}  # per place of the text: draws and the middles of their pauses
    totals = {}
    for draw, reading in enumerate(readings):
        if reading is None or np.isinf(reading[1]).any():
            continue
        path, wrong = reading
        arrived[draw], totals[draw] = (0.0, [], 0), np.concatenate(([0.0], wrong.cumsum()))
        for state in range(2, 2 * len(text), 2):
            start, end = np.searchsorted(path, [state, state + 1])
            if end - start >= SEAM * frame_rate and (start + end) // 2 >= first:
                pauses.setdefault(state, []).append((draw, int(start + end) // 2))
    if not arrived:
        return [(0, 0, len(draws[0]))]

    def until(draw: int, frame: int) -> tuple[float, list[tuple[int, int, int]]]:
        wrong, pieces, start = arrived[draw]
        return wrong + totals[draw][frame] - totals[draw][start], [*pieces, (draw, start, frame)]

    for state in sorted(pauses):
        ways = {draw: until(draw, frame) for draw, frame in pauses[state]}
        least = min(ways, key=lambda draw: ways[draw][0])
        for draw, frame in pauses[state]:
            if ways[draw][0] > ways[least][0]:
                arrived[draw] = (*ways[least], frame)
    ends = [until(draw, len(draws[draw])) for draw in arrived]
    return min(ends, key=lambda end: end[0])[1]


def pauses_cut(said: np.ndarray, frame_rate: float) -> np.ndarray:
    """The frames to keep so that no pause is longer than `LONGEST`, its middle left out: indices of said (time,)."""
    most = round(LONGEST * frame_rate)
    kept, ends = [], np.flatnonzero(np.diff(said == PAUSE)) + 1
    for run in np.split(np.arange(len(said)), ends):
        long = len(run) > most and said[run[0]] == PAUSE
        kept.append(np.concatenate((run[: most // 2], run[len(run) - (most - most // 2) :])) if long else run)
    return np.concatenate(kept)
