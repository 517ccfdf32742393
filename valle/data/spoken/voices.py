"""The speakers of the spoken corpus: espeak-ng's accents and voice variants at many pitches and rates."""

from __future__ import annotations

import random
from dataclasses import dataclass

from valle.data.spoken.espeak import EspeakVoice

# The clearest first, by the word errors of Whisper tiny.en on a few sentences each; whispers, croaks, robots, high
# pitches and other accents, which it hardly follows, are left out.
VARIANTS = [
    "m4",
    "m5",
    "Denis",
    "Diogo",
    "sandro",
    "pablo",
    "m7",
    "steph",
    "quincy",
    "Mike",
    "Mario",
    "robert",
    "m2",
    "steph3",
    "victor",
    "Henrique",
    "david",
    "paul",
    "f1",
    "f3",
    "klatt6",
    "Michael",
    "iven",
    "miguel",
    "rob",
    "Nguyen",
    "Hugo",
    "m1",
    "norbert",
    "klatt",
    "max",
    "Reed",
    "benjamin",
    "edward",
    "klatt2",
    "Annie",
    "Gene",
    "m8",
    "iven4",
    "adam",
    "m6",
    "michel",
    "john",
    "f2",
    "f5",
    "antonio",
    "caleb",
    "klatt3",
    "grandpa",
    "m3",
    "ian",
    "Alex",
    "f4",
    "gustave",
]
ACCENTS = ("en-us", "en-us", "en-gb-x-rp")
HELD_OUT_EVERY = 6  # each sixth variant speaks only in the test set


@dataclass(frozen=True)
class Speaker:
    """A named voice; `held_out` voices are never in the training set."""

    name: str
    voice: EspeakVoice
    held_out: bool


def speakers(seed: int) -> list[Speaker]:
    """One speaker a variant, with an accent, a pitch and a rate drawn from `seed`. Held-out variants are fixed."""
    found = []
    for index, variant in enumerate(VARIANTS):
        rng = random.Random(f"{seed} {variant}")
        voice = EspeakVoice(
            accent=rng.choice(ACCENTS),
            variant=variant,
            pitch=rng.randint(28, 55),
            pitch_range=rng.randint(35, 60),
            rate=rng.randint(138, 160),
        )
        found.append(Speaker(variant.lower(), voice, index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1))
    return found
