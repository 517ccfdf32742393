"""Does speech say its text? Read from the first codes themselves, where each stands for a phone.

The AR model now and then leaves a word out, says one twice or falls silent. Where the codec tells which phone a first
code stands for, that is seen before anything is decoded, without a recogniser: of several draws the best can be kept.
"""

from __future__ import annotations

import numpy as np

from valle.text.phones import PHONE_CLASSES, UNKNOWN, phone_class

PAUSE = PHONE_CLASSES.index("")
LONGEST = 0.5  # seconds: of a phone or a pause; all beyond is wrong


def phones_of(symbols: list[str]) -> list[int]:
    """Classes of the phones among a text's symbols: stress, spaces, marks and foreign phones are left out."""
    return [c for c in map(phone_class, symbols) if c not in (PAUSE, UNKNOWN)]


def misread(said: np.ndarray, text: list[int], frame_rate: float) -> float:
    """Frames that do not say the text, for each of its phones; 0 is a perfect reading, infinity one that cannot be.

    said: (time,) class of the phone that each frame's first code stands for; text: classes of what should be said.
    Frames are given to the text's phones in order, to each at least one, and between them to pauses, so that as few as
    can be are of another phone than the one they are given to. What lasts longer than `LONGEST` is wrong as well.
    """
    if not len(said) or not text:
        return float("inf")
    states = np.full(2 * len(text) + 1, PAUSE)
    states[1::2] = text  # a pause may stand before, between and after them
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
    total, lasted = float(cost[state]), np.zeros(len(states))
    for frame in reversed(range(len(said))):
        lasted[state] += 1
        state -= steps[frame, state]
    return (total + np.maximum(0.0, lasted - LONGEST * frame_rate).sum()) / len(text)
