"""Short utterances cut from aligned recordings at pauses, and untranscribed prompts of the same speaker.

A text of one to five words after a prompt of three seconds is what users try first, and what corpora of read sentences
do not have: a model that never saw a prompt longer than the speech after it predicts EOS as soon as such a prompt ends.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace

from valle.data.kaldi import Stretch, Utterance
from valle.data.phoneme_timing import symbol_starts
from valle.text import normalize, phonemize
from valle.text.phones import UNKNOWN, phone_class

# Seconds. A pause that separates phrases is at least this long.
MIN_PAUSE = 0.15
# Of a pause, what an excerpt keeps before its first and after its last phone.
MARGIN = 0.15
MIN_PROMPT = 1.0
MAX_PROMPT = 3.0
# Largest difference between the phones of a phrase's text and those aligned in it, as a share of the former.
MAX_PHONE_MISMATCH = 0.25


@dataclass(frozen=True)
class Phrase:
    """Words spoken between two pauses.

    Attributes:
        words: normalized words, with their punctuation.
        start: first frame of the first phone, in seconds of the utterance.
        end: end of the last phone, in seconds of the utterance.
        pause: seconds of the pause after it; 0 at the end of the utterance.
        fits: whether as many phones are aligned as its words have.
    """

    words: tuple[str, ...]
    start: float
    end: float
    pause: float
    fits: bool


def phrases(utterances: list[Utterance]) -> list[list[Phrase]]:
    """Split aligned utterances into phrases at pauses of at least `MIN_PAUSE`.

    Args:
        utterances: with durations.

    Returns:
        The phrases of each utterance, together all of its words; none for an utterance without phones.
    """
    texts = [normalize(u.text).split() if u.phones else [] for u in utterances]
    words = sorted({word for text in texts for word in text})
    spoken = dict(zip(words, phonemize(words), strict=True)) if words else {}
    return [_phrases(u, [(word, spoken[word]) for word in text]) for u, text in zip(utterances, texts, strict=True)]


def _phrases(utterance: Utterance, words: list[tuple[str, list[str]]]) -> list[Phrase]:
    if not utterance.phones or not words:
        return []
    symbols = [symbol for _, word in words for symbol in (*word, " ")]
    starts = symbol_starts(symbols, utterance.phones)
    found: list[Phrase] = []
    position = 0
    placed = []  # of each word, its symbols and when its first phone begins
    for word, spoken in words:
        first = next((i for i, symbol in enumerate(spoken) if phone_class(symbol) > 0), 0)
        placed.append((starts[position + first], word, spoken))
        position += len(spoken) + 1
    speech = _speech(utterance)
    bounds = [start for start, *_ in speech]
    groups: list[list[tuple[str, list[str]]]] = [[] for _ in speech]
    for at, word, spoken in placed:
        groups[max(0, bisect_right(bounds, at) - 1)].append((word, spoken))
    for (start, end, pause, phones), inside in zip(speech, groups, strict=True):
        expected = sum(phone_class(symbol) not in (0, UNKNOWN) for _, spoken in inside for symbol in spoken)
        fits = bool(inside) and abs(expected - phones) <= max(1, MAX_PHONE_MISMATCH * expected)
        found.append(Phrase(tuple(word for word, _ in inside), start, end, pause, fits))
    return found


def _speech(utterance: Utterance) -> list[tuple[float, float, float, int]]:
    """Stretches of speech between pauses: start, end, the pause after it, and how many phones it has."""
    phones = utterance.phones or ()
    ends = [*(start for _, start in phones[1:]), utterance.duration or phones[-1][1]]
    stretches: list[tuple[float, float, float, int]] = []
    current: tuple[float, float, int] | None = None
    for (phone, start), end in zip(phones, ends, strict=True):
        if phone:
            first, _, count = current or (start, end, 0)
            current = (first, end, count + 1)
        elif current is not None and end - start >= MIN_PAUSE:
            stretches.append((current[0], current[1], end - start, current[2]))
            current = None
    if current is not None:
        stretches.append((current[0], current[1], 0.0, current[2]))
    return stretches


def excerpts(utterances: list[Utterance], fewest: int, most: int) -> list[Utterance]:
    """Cut the phrases of `fewest` to `most` words out of aligned utterances, as utterances of their own.

    Their texts end with a full stop where the phrase has no mark of its own, since that is how users write them.
    Whole utterances are no excerpts.

    Args:
        utterances: with durations and, where they are aligned, phones.
        fewest: words of an excerpt.
        most: words of an excerpt.
    """
    made = []
    for utterance, found in zip(utterances, phrases(utterances), strict=True):
        assert utterance.duration is not None
        before = MARGIN
        for number, phrase in enumerate(found):
            start = max(0.0, phrase.start - min(MARGIN, before))
            end = min(utterance.duration, phrase.end + min(MARGIN, phrase.pause / 2 or MARGIN))
            before = phrase.pause / 2
            whole = end - start > 0.9 * utterance.duration
            if whole or not phrase.fits or not fewest <= len(phrase.words) <= most:
                continue
            made.append(
                replace(
                    utterance,
                    id=f"{utterance.id}-{number:02d}",
                    text=_sentence(phrase.words),
                    start=round(utterance.start + start, 3),
                    end=round(utterance.start + end, 3),
                    duration=round(end - start, 3),
                    phones=_within(utterance.phones or (), start, end),
                )
            )
    return made


def _sentence(words: tuple[str, ...]) -> str:
    text = " ".join(words).rstrip(",;:")
    return text if text[-1] in ".?!" else f"{text}."


def _within(phones: tuple[tuple[str, float], ...], start: float, end: float) -> tuple[tuple[str, float], ...]:
    """The phones between `start` and `end`, in seconds from `start`; the one spoken at `start` is the first."""
    running = [phone for phone, at in phones if at <= start][-1:]
    inside = [(phone, round(at - start, 3)) for phone, at in phones if start < at < end]
    return tuple([(phone, 0.0) for phone in running] + inside)


def with_prompts(utterances: list[Utterance], pool: list[Utterance], seed: int) -> list[Utterance]:
    """Give each utterance an untranscribed prompt: 1 to 3 seconds of other speech by its speaker.

    Args:
        utterances: to prompt.
        pool: where prompts are taken from; with durations. What overlaps the utterance itself is not used.
        seed: of the choice.

    Returns:
        The utterances; those whose speaker says nothing else long enough have no prompt.
    """
    speech = defaultdict(list)
    for u in pool:
        speech[u.speaker].append(Stretch(u.path, u.start, u.start + (u.duration or 0.0)))
    made = []
    for u in utterances:
        rng = random.Random(f"{seed} {u.id}")
        own = Stretch(u.path, u.start, u.start + (u.duration or 0.0))
        rest = [part for stretch in speech[u.speaker] for part in _outside(stretch, own)]
        rest = [part for part in rest if part.end - part.start >= MIN_PROMPT]
        made.append(replace(u, prompt=_some(rng.choice(rest), rng) if rest else None))
    return made


def _outside(stretch: Stretch, own: Stretch) -> list[Stretch]:
    """What of `stretch` is before and after `own`."""
    if stretch.path != own.path or stretch.end <= own.start or own.end <= stretch.start:
        return [stretch]
    return [replace(stretch, end=own.start), replace(stretch, start=own.end)]


def _some(stretch: Stretch, rng: random.Random) -> Stretch:
    """A random part of 1 to 3 seconds of a stretch."""
    seconds = min(rng.triangular(MIN_PROMPT, MAX_PROMPT, MAX_PROMPT), stretch.end - stretch.start)
    start = rng.uniform(stretch.start, stretch.end - seconds)
    return Stretch(stretch.path, round(start, 3), round(start + seconds, 3))
