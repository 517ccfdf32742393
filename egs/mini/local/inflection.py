"""English inflection, as far as the grammar needs it: plural, past, present and progressive forms."""

from __future__ import annotations

# Irregular verbs of words.txt.
_IRREGULAR_PAST = dict(
    pair.split(":")
    for pair in [
        "bring:brought",
        "buy:bought",
        "build:built",
        "catch:caught",
        "choose:chose",
        "draw:drew",
        "drive:drove",
        "find:found",
        "forget:forgot",
        "give:gave",
        "hide:hid",
        "hold:held",
        "keep:kept",
        "leave:left",
        "lose:lost",
        "make:made",
        "meet:met",
        "read:read",
        "ride:rode",
        "see:saw",
        "sell:sold",
        "send:sent",
        "sing:sang",
        "sit:sat",
        "sleep:slept",
        "speak:spoke",
        "stand:stood",
        "steal:stole",
        "sweep:swept",
        "swim:swam",
        "take:took",
        "teach:taught",
        "throw:threw",
        "wake:woke",
        "wear:wore",
        "win:won",
        "write:wrote",
        "run:ran",
        "fly:flew",
        "grow:grew",
        "fall:fell",
        "rise:rose",
        "break:broke",
        "hear:heard",
        "feed:fed",
        "fight:fought",
        "wait:waited",
        "weep:wept",
        "cut:cut",
        "put:put",
        "shut:shut",
        "spread:spread",
    ]
)
_IRREGULAR_PLURAL = {"knife": "knives", "leaf": "leaves", "wolf": "wolves", "shelf": "shelves", "loaf": "loaves"}
_VOWELS = "aeiou"
# Verbs whose last consonant is doubled before -ed and -ing.
_DOUBLING = {"stop", "drop", "plan", "wrap", "grab", "hug", "trim", "cut", "put", "shut", "run", "swim", "sit", "win"}
_DOUBLING |= {"forget", "chat", "nod", "jog", "spot", "slip", "skip"}


def _split_first(phrase: str) -> tuple[str, str]:
    """The verb of a verb phrase, and the rest with a space before it."""
    first, _, rest = phrase.partition(" ")
    return first, f" {rest}" if rest else ""


def plural(noun: str) -> str:
    """Plural of a noun: `plural("box") == "boxes"`."""
    if noun in _IRREGULAR_PLURAL:
        return _IRREGULAR_PLURAL[noun]
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith(("s", "x", "z", "ch", "sh")) else f"{noun}s"


def past(verb: str) -> str:
    """Simple past of a verb or verb phrase: `past("pick up") == "picked up"`."""
    verb, rest = _split_first(verb)
    if verb in _IRREGULAR_PAST:
        return _IRREGULAR_PAST[verb] + rest
    if verb.endswith("e"):
        return f"{verb}d{rest}"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return f"{verb[:-1]}ied{rest}"
    return f"{verb}{verb[-1] if verb in _DOUBLING else ''}ed{rest}"


def present(verb: str) -> str:
    """Third person singular: `present("carry") == "carries"`."""
    verb, rest = _split_first(verb)
    return plural(verb) + rest


def progressive(verb: str) -> str:
    """Present participle: `progressive("write") == "writing"`."""
    verb, rest = _split_first(verb)
    if verb.endswith("e") and not verb.endswith(("ee", "ye")):
        verb = verb[:-1]
    return f"{verb}{verb[-1] if verb in _DOUBLING else ''}ing{rest}"


def a_or_an(words: str) -> str:
    """Add the indefinite article: `a_or_an("honest man") == "an honest man"`."""
    silent_h = words.startswith(("honest", "hour", "heir"))
    sounds_like_consonant = words.startswith(("uni", "use", "usu", "eu", "one"))
    vowel = (words[0] in _VOWELS and not sounds_like_consonant) or silent_h
    return f"{'an' if vowel else 'a'} {words}"
