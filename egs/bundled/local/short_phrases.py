"""Write short everyday phrases of one to five words, which books rarely contain, as texts for synthesizers.

    python local/short_phrases.py OUT.txt [--lines 700] [--seed 0]

No line occurs twice, and the same seed gives the same lines.
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
    """Split a text into entries; an underscore is a space within an entry."""
    return [entry.replace("_", " ") for entry in text.split()]


NAMES = _entries(
    """Anna Ben Clara David Emma Frank Grace Henry Julia Kate Leo Maria Nora Oliver Peter Rose Sam Tom Victor"""
)
THINGS = _entries("""water tea coffee bread milk apples sugar money paper time music rain snow lunch dinner books keys
letters shoes flowers""")
PLACES = _entries("""home school work church town bed the_office the_station the_garden the_market the_kitchen""")
TIMES = _entries("""today tonight tomorrow Monday Friday Sunday noon midnight later soon next_week this_evening""")
FEELINGS = _entries("""tired hungry sorry ready late happy sure afraid busy cold fine alone lost wrong right sick""")
ACTIONS = _entries("""wait listen sit_down stand_up come_in go_on look run speak begin try_again be_quiet hurry_up""")
NUMBERS = _entries("""one two three four five six seven eight nine ten eleven twelve fifteen twenty thirty forty fifty
ninety a_hundred a_thousand""")
PHRASES = _entries("""Yes. Yes! Okay. Sure. Right. Maybe. Never. Always. Please. Thanks. Sorry. Really? Why? When?
Where? Who? How? What? Now. Here. There. Left. Right. Up. Down. Nothing. Everything. Enough. Welcome. Goodbye.
Hey! Help! Fire! Look! Wait! Listen! Quiet! Go! Ready? Again? Exactly. Perfect. Wonderful. Of_course. Not_yet.
Not_now. Not_me. No_way. No_thanks. Never_mind. Good_evening. Good_night. Good_luck. Good_idea. Well_done.
All_right. Come_here. Come_on. Go_away. Go_ahead. Take_care. Excuse_me. How_are_you? Who_is_it? What_is_that?
Where_is_it? Why_not? How_much? How_many? What_happened? Who_said_so? Is_that_you? I_see. I_think_so. I_hope_so.
I_agree. I_forgot. I_can't. I_will. I_won't. You_are_right. That's_fine. That's_all. It_depends. Let_me_see.
Let's_go. Nice_to_meet_you. Have_a_good_day. Happy_birthday! Merry_Christmas! Long_time_ago. Once_upon_a_time.""")
# Each pattern is filled with each of its words.
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
    ("Please {}.", ACTIONS),
    ("Don't {}!", ACTIONS),
    ("{}.", NUMBERS),
    ("Number {}.", NUMBERS),
    ("Page {}.", NUMBERS),
    ("About {} minutes.", NUMBERS),
    ("{} dollars.", NUMBERS),
]
# Test sentences of the bundled model, which must not be in the training data.
TEST_SENTENCES = """Hi. Yes, please. Good morning. What time is it? I do not know. Thank you very much. No. Hello there.
See you tomorrow. Stop!"""


def lines(count: int, seed: int) -> list[str]:
    """Select distinct phrases.

    Args:
        count: Number of phrases.
        seed: Seed of the selection.

    Returns:
        The phrases in random order.

    Raises:
        UserError: There are not that many phrases.
    """
    filled = [pattern.format(word) for pattern, words in PATTERNS for word in words]
    calls = [f"{first}, {name}." for first, name in product(("Yes", "No", "Wait", "Look", "Sorry", "Goodbye"), NAMES)]
    pairs = [f"{number} {thing}." for number, thing in product(NUMBERS[1:], ("books", "letters", "shoes", "keys"))]
    test_sentences = " ".join(TEST_SENTENCES.split())
    phrases = {*PHRASES, *filled, *calls, *pairs}
    result = sorted(text[0].upper() + text[1:] for text in phrases if text not in test_sentences)
    if len(result) < count:
        raise UserError(f"--lines {count}: there are {len(result)} phrases; give at most that many")
    random.Random(f"short {seed}").shuffle(result)
    return result[:count]


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="file to write, with one phrase per line")
    parser.add_argument("--lines", type=int, default=700, help="number of phrases (default: 700)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the selection (default: 0)")
    args = parser.parse_args()
    phrases = lines(args.lines, args.seed)
    write_text(args.output, "".join(f"{line}\n" for line in phrases))
    print(f"{args.output}: {len(phrases)} phrases")


if __name__ == "__main__":
    run(_main)
