"""English sentences from a small grammar with a large vocabulary, deterministic from a seed.

The sentences make sense often enough to read like speech, and cover numbers, questions, lists, dialogue and
subordinate clauses, so that phonemes meet in many orders and sentence melodies differ.
"""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

from valle.data.spoken.inflect import a_or_an, past, plural, present, progressive

_WORDS = Path(__file__).parent / "words.txt"


@cache
def vocabulary() -> dict[str, tuple[str, ...]]:
    """The word lists of words.txt by their heading ("noun", "place", "verb", ...)."""
    lists: dict[str, tuple[str, ...]] = {}
    for line in _WORDS.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            heading, words = line.split(":", 1)
            lists[heading] = (*lists.get(heading, ()), *(word.strip() for word in words.split(",")))
    return lists


class Grammar:
    """Draws sentences from one random generator.

    `Grammar(random.Random(7)).sentence()` is the same on every machine.
    """

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def sentence(self) -> str:
        """One sentence of roughly 5 to 16 words, capitalised and punctuated."""
        shape = self.rng.choices(
            (self._statement, self._question, self._command, self._report, self._dialogue, self._compound, self._when),
            weights=(6, 2, 1, 2, 1, 2, 2),
        )[0]
        text = shape()
        return text[0].upper() + text[1:]

    def _word(self, heading: str) -> str:
        return self.rng.choice(vocabulary()[heading])

    def _maybe(self, chance: float, text: str) -> str:
        return text if self.rng.random() < chance else ""

    def _noun_phrase(self, heading: str = "noun") -> str:
        noun = self._word(heading)
        adjective = self._maybe(0.55, self._word("adjective"))
        words = " ".join(filter(None, (adjective, noun)))
        kind = self.rng.random()
        if kind < 0.4:
            return f"the {words}"
        if kind < 0.6:
            return a_or_an(words)
        if kind < 0.8:
            return f"{self._word('possessive')} {words}"
        if kind < 0.9:
            return f"{self._word('number')} {' '.join(filter(None, (adjective, plural(noun))))}"
        return f"the {words} {self._preposition_phrase()}"

    def _subject(self) -> str:
        return self.rng.choice(
            (
                self._word("name"),
                f"the {self._word('person')}",
                f"{self._word('possessive')} {self._word('person')}",
                f"the {self._word('adjective')} {self._word('animal')}",
                f"{self._word('name')} and {self._word('possessive')} {self._word('person')}",
            )
        )

    def _preposition_phrase(self) -> str:
        return f"{self._word('preposition')} the {self._maybe(0.3, self._word('adjective') + ' ')}{self._word('place')}"

    def _predicate(self, verb_form=past) -> str:
        kind = self.rng.random()
        if kind < 0.7:
            core = f"{verb_form(self._word('transitive'))} {self._noun_phrase()}"
        else:
            core = f"{verb_form(self._word('intransitive'))} {self._preposition_phrase()}"
        return f"{core}{self._maybe(0.3, ' ' + self._word('adverb'))}{self._maybe(0.3, ' ' + self._word('time'))}"

    def _statement(self) -> str:
        return f"{self._subject()} {self._predicate()}."

    def _question(self) -> str:
        subject = self._subject()
        return self.rng.choice(
            (
                f"did {subject} {self._predicate(str)}?",
                f"why is {self._word('name')} {progressive(self._word('transitive'))} {self._noun_phrase()}?",
                f"where did {subject} {self._word('transitive')} {self._noun_phrase()}?",
                f"can you {self._word('transitive')} {self._noun_phrase()} {self._word('time')}?",
            )
        )

    def _command(self) -> str:
        please, verb = self._maybe(0.5, "please "), self._word("transitive")
        return f"{please}{verb} {self._noun_phrase()} {self._preposition_phrase()}."

    def _report(self) -> str:
        return f"{self._subject()} {self._word('reporting')} that {self._subject()} {self._predicate()}."

    def _dialogue(self) -> str:
        name = self._word("name")
        return f"{self._word('exclamation')}, {name}, {self._subject()} {self._predicate(present)}."

    def _compound(self) -> str:
        return (
            f"{self._subject()} {self._predicate()}, {self.rng.choice(('and', 'but', 'so'))} {self._subject()} "
            f"{past(self._word('intransitive'))} {self._preposition_phrase()}."
        )

    def _when(self) -> str:
        opening = self.rng.choice(("when", "while", "after", "before", "because", "although"))
        return f"{opening} {self._subject()} {past(self._word('intransitive'))}, {self._subject()} {self._predicate()}."


def sentences(count: int, seed: int | str) -> list[str]:
    """`count` distinct sentences, the same for the same seed."""
    grammar = Grammar(random.Random(seed))
    found: dict[str, None] = {}
    while len(found) < count:
        found[grammar.sentence()] = None
    return list(found)
