"""The speakers of the generated corpus: voice variants of espeak-ng with random accents, pitches and rates."""

from __future__ import annotations

import random
from dataclasses import dataclass

from espeak import EspeakVoice

# Voice variants in increasing order of their word error rate (Whisper tiny.en, a few sentences each). Variants that are
# hardly intelligible are left out: whispers, croaks, robots, high pitches and other accents.
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
# American English twice: it is twice as likely.
ACCENTS = ("en-us", "en-us", "en-gb-x-rp")
# Every sixth variant occurs only in the test set, so that held-out voices are as intelligible as the others.
HELD_OUT_EVERY = 6


@dataclass(frozen=True)
class Speaker:
    """A speaker of the corpus.

    Attributes:
        name: Name in the data directories.
        voice: Its voice.
        held_out: Whether it is left out of the training set.
    """

    name: str
    voice: EspeakVoice
    held_out: bool


def speakers(seed: int) -> list[Speaker]:
    """Assign an accent, a pitch and a rate to each voice variant.

    Args:
        seed: Seed of the assignment. Which variants are held out does not depend on it.

    Returns:
        One speaker per variant.
    """
    cast = []
    for index, variant in enumerate(VARIANTS):
        rng = random.Random(f"{seed} {variant}")
        voice = EspeakVoice(
            accent=rng.choice(ACCENTS),
            variant=variant,
            pitch=rng.randint(28, 55),
            pitch_range=rng.randint(35, 60),
            rate=rng.randint(138, 160),
        )
        held_out = index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        cast.append(Speaker(variant.lower(), voice, held_out))
    return cast
