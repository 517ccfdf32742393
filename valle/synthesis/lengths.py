"""Lower and upper bounds on the length of synthesized speech, from the length of its text."""

from __future__ import annotations

# Upper bound: three times as slow as usual speech.
MAX_SECONDS_PER_UNIT = 0.2
MAX_SECONDS_MORE = 1.0
# Lower bound: the fastest speakers of the training data, with the silence around their utterances
# (benchmarks/speaking_rate.py). EOS is not sampled before it.
MIN_SECONDS_PER_PHONE = 0.05
MIN_SECONDS = 0.2


def max_frames(units: int, frame_rate: float) -> int:
    """Return the frames in which a slow speaker says a text.

    Args:
        units: Text units, see `valle.text.TextUnits.length`.
        frame_rate: Hertz.
    """
    return round((units * MAX_SECONDS_PER_UNIT + MAX_SECONDS_MORE) * frame_rate)


def min_frames(phones: int, frame_rate: float) -> int:
    """Return the frames below which nobody says a text.

    Args:
        phones: Phones of the text, see `valle.text.TextUnits.phones`.
        frame_rate: Hertz.
    """
    return round((phones * MIN_SECONDS_PER_PHONE + MIN_SECONDS) * frame_rate)
