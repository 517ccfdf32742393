"""Short everyday phrases of one to five words, for synthesizers to speak: what people say, and books rarely do.

    python local/short_phrases.py OUT.txt [--lines 700] [--seed 0]

The same seed gives the same lines; no line comes twice.
"""

from __future__ import annotations

import argparse
import random
from itertools import product
from pathlib import Path

from valle.cli.common import run
from valle.errors import UserError
from valle.files import write_text


def _entries(text: str) -> list[str]:
    """The words of a text; an underscore is a space within an entry."""
    return [entry.replace("_", " ") for entry in text.split()]


NAMES = _entries(
    """Anna Ben Clara David Emma Frank Grace Henry Julia Kate Leo Maria Nora Oliver Peter Rose Sam Tom Victor"""
)
THINGS = _entries("""water tea coffee bread milk apples sugar money paper time music rain snow lunch dinner books keys
letters shoes flowers""")
PLACES = _entries("""home school work church town bed the_office the_station the_garden the_market the_kitchen""")
TIMES = _entries("""today tonight tomorrow Monday Friday Sunday noon midnight later soon next_week this_evening""")
FEELINGS = _entries("""tired hungry sorry ready late happy sure afraid busy cold fine alone lost wrong right sick""")
DOINGS = _entries("""wait listen sit_down stand_up come_in go_on look run speak begin try_again be_quiet hurry_up""")
NUMBERS = _entries("""one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty
ninety a_hundred a_thousand""")
ALONE = _entries("""Yes. Yes! Okay. Sure. Right. Maybe. Never. Always. Please. Thanks. Sorry. Really? Why? When?
Where? Who? How? What? Now. Here. There. Left. Right. Up. Down. Nothing. Everything. Enough. Welcome. Goodbye.
Hey! Help! Fire! Look! Wait! Listen! Quiet! Go! Ready? Again? Exactly. Perfect. Wonderful. Of_course. Not_yet.
Not_now. Not_me. No_way. No_thanks. Never_mind. Good_evening. Good_night. Good_luck. Good_idea. Well_done.
All_right. Come_here. Come_on. Go_away. Go_ahead. Take_care. Excuse_me. How_are_you? Who_is_it? What_is_that?
Where_is_it? Why_not? How_much? How_many? What_happened? Who_said_so? Is_that_you? I_see. I_think_so. I_hope_so.
I_agree. I_forgot. I_can't. I_will. I_won't. You_are_right. That's_fine. That's_all. It_depends. Let_me_see.
Let's_go. Nice_to_meet_you. Have_a_good_day. Happy_birthday! Merry_Christmas! Long_time_ago. Once_upon_a_time.""")
# {} is filled with each of the words.
PATTERNS = [
    ("Hello, {}.", NAMES),
    ("{}?", NAMES),
    ("Thank you, {}.", NAMES),
    ("Good morning, {}.", NAMES),
    ("{} is here.", NAMES),
    ("Where is {}?", NAMES),
    ("{}, please.", THINGS),
    ("More {}, please.", THINGS),
    ("No {}.", THINGS),
    ("I like {}.", THINGS),
    ("Is there any {}?", THINGS),
    ("Go to {}.", PLACES),
    ("I'm at {}.", PLACES),
    ("To {}?", PLACES),
    ("See you {}.", TIMES[2:]),
    ("Not {}.", TIMES),
    ("Until {}.", TIMES),
    ("I'm {}.", FEELINGS),
    ("Are you {}?", FEELINGS),
    ("She was {}.", FEELINGS),
    ("He isn't {}.", FEELINGS),
    ("Please {}.", DOINGS),
    ("Don't {}!", DOINGS),
    ("{}.", NUMBERS),
    ("Number {}.", NUMBERS),
    ("Page {}.", NUMBERS),
    ("About {} minutes.", NUMBERS),
    ("{} dollars.", NUMBERS),
]
# The bundled model is tested with these.
TESTED = """Hi. Yes, please. Good morning. What time is it? I do not know. Thank you very much. No. Hello there.
See you tomorrow. Stop!"""


def lines(count: int, seed: int) -> list[str]:
    """`count` distinct phrases, shuffled. Raises UserError when there are not so many."""
    filled = [pattern.format(word) for pattern, words in PATTERNS for word in words]
    calls = [f"{first}, {name}." for first, name in product(("Yes", "No", "Wait", "Look", "Sorry", "Goodbye"), NAMES)]
    pairs = [f"{number} {thing}." for number, thing in product(NUMBERS[1:], ("books", "letters", "shoes", "keys"))]
    joined = " ".join(TESTED.split())
    known = {*ALONE, *filled, *calls, *pairs}
    found = sorted(text[0].upper() + text[1:] for text in known if text not in joined)
    if len(found) < count:
        raise UserError(f"--lines {count}: there are {len(found)} phrases")
    random.Random(f"short {seed}").shuffle(found)
    return found[:count]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--lines", type=int, default=700, help="how many phrases (default: 700)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    made = lines(args.lines, args.seed)
    write_text(args.output, "".join(f"{line}\n" for line in made))
    print(f"{args.output}: {len(made)} phrases")


if __name__ == "__main__":
    run(_main)
