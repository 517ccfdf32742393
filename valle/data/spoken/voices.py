"""The speakers of the spoken corpus: espeak-ng's accents and voice variants at many pitches and rates."""

from __future__ import annotations

import random
from dataclasses import dataclass

from valle.data.spoken.espeak import EspeakVoice

# Variants that a speech recogniser follows without much trouble; robots, whispers and croaks are left out.
VARIANTS = [
    "Alex",
    "Annie",
    "Denis",
    "Diogo",
    "Gene",
    "Henrique",
    "Hugo",
    "Marco",
    "Mario",
    "Michael",
    "Mike",
    "Nguyen",
    "Reed",
    "adam",
    "announcer",
    "anika",
    "antonio",
    "aunty",
    "belinda",
    "benjamin",
    "boris",
    "caleb",
    "david",
    "ed",
    "edward",
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "grandma",
    "grandpa",
    "gustave",
    "ian",
    "iven",
    "iven4",
    "john",
    "klatt",
    "klatt2",
    "klatt3",
    "klatt6",
    "linda",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "marcelo",
    "max",
    "michel",
    "miguel",
    "norbert",
    "pablo",
    "paul",
    "pedro",
    "quincy",
    "rob",
    "robert",
    "sandro",
    "shelby",
    "steph",
    "steph3",
    "victor",
]
ACCENTS = ("en-us", "en-us", "en-us", "en-gb-x-rp", "en-gb-scotland", "en-us-nyc")
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
            pitch=rng.randint(25, 75),
            pitch_range=rng.randint(35, 70),
            rate=rng.randint(140, 175),
        )
        found.append(Speaker(variant.lower(), voice, index % HELD_OUT_EVERY == HELD_OUT_EVERY - 1))
    return found
