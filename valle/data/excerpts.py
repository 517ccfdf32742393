"""Short utterances cut from aligned recordings at pauses, and untranscribed prompts of the same speaker.

Users often give a text of one to five words after a prompt of three seconds, which corpora of read sentences do not
contain: a model that was never trained on a prompt longer than its target predicts EOS as soon as the prompt ends.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, replace

from valle.data.phoneme_timing import symbol_starts
from valle.data.utterance import AudioSegment, Utterance
from valle.text import normalize, phonemize
from valle.text.phones import UNKNOWN, phone_class

# Seconds. Minimum length of a pause that separates phrases.
MIN_PAUSE = 0.15
# Seconds of the surrounding pauses that an excerpt includes before its first phone and after its last one.
MARGIN = 0.15
# Seconds. Length of a prompt.
MIN_PROMPT = 1.0
MAX_PROMPT = 3.0
# Largest difference between the number of phones of a phrase's text and the number aligned in it, as a share of it.
MAX_PHONE_MISMATCH = 0.25
# An excerpt longer than this share of its utterance would only repeat the utterance.
MAX_SHARE = 0.9


@dataclass(frozen=True)
class Phrase:
    """Words between two pauses.

    Attributes:
        words: Normalized words, with their punctuation.
        start: Start of the first phone, in seconds from the start of the utterance.
        end: End of the last phone, in seconds from the start of the utterance.
        pause: Length of the pause after the phrase in seconds; 0 at the end of the utterance.
        matches_phones: Whether the words have about as many phones as are aligned between the pauses.
    """

    words: tuple[str, ...]
    start: float
    end: float
    pause: float
    matches_phones: bool


@dataclass(frozen=True)
class _Word:
    """A word of a transcript with its phoneme symbols."""

    text: str
    symbols: list[str]


@dataclass(frozen=True)
class _SpeechRun:
    """Aligned phones without a pause between them; times in seconds from the start of the utterance."""

    start: float
    end: float
    num_phones: int
    pause: float = 0.0


def phrases(utterances: list[Utterance]) -> list[list[Phrase]]:
    """Split aligned utterances into phrases at pauses of at least `MIN_PAUSE`.

    Args:
        utterances: Utterances with durations.

    Returns:
        The phrases of each utterance, which together have all of its words; none for an utterance without phones.

    Raises:
        UserError: A transcript cannot be normalized.
    """
    texts = [normalize(u.text).split() if u.phones else [] for u in utterances]
    # Each word is phonemized once, whatever its neighbours are, so that the symbols of every word are separate.
    vocabulary = sorted({word for text in texts for word in text})
    symbols = dict(zip(vocabulary, phonemize(vocabulary), strict=True)) if vocabulary else {}
    return [
        _split_at_pauses(utterance, [_Word(word, symbols[word]) for word in text])
        for utterance, text in zip(utterances, texts, strict=True)
    ]


def _split_at_pauses(utterance: Utterance, words: list[_Word]) -> list[Phrase]:
    """The phrases of one utterance."""
    if not utterance.phones or not words:
        return []
    runs = _speech_runs(utterance)
    run_starts = [run.start for run in runs]
    words_of_run: list[list[_Word]] = [[] for _ in runs]
    for word, start in zip(words, _word_starts(words, utterance.phones), strict=True):
        words_of_run[max(0, bisect_right(run_starts, start) - 1)].append(word)
    result = []
    for run, run_words in zip(runs, words_of_run, strict=True):
        expected = sum(phone_class(symbol) not in (0, UNKNOWN) for word in run_words for symbol in word.symbols)
        mismatch = abs(expected - run.num_phones)
        # Many missing or additional phones are a sign that a word was aligned to the wrong side of the pause.
        matches = bool(run_words) and mismatch <= max(1, MAX_PHONE_MISMATCH * expected)
        texts = tuple(word.text for word in run_words)
        result.append(Phrase(words=texts, start=run.start, end=run.end, pause=run.pause, matches_phones=matches))
    return result


def _word_starts(words: list[_Word], phones: tuple[tuple[str, float], ...]) -> list[float]:
    """When the first phone of each word starts, in seconds."""
    symbols = [symbol for word in words for symbol in (*word.symbols, " ")]
    starts = symbol_starts(symbols, phones)
    word_starts = []
    position = 0
    for word in words:
        # A word may begin with a quotation mark, which would be matched with the pause before it.
        first = next((i for i, symbol in enumerate(word.symbols) if phone_class(symbol) > 0), 0)
        word_starts.append(starts[position + first])
        position += len(word.symbols) + 1
    return word_starts


def _speech_runs(utterance: Utterance) -> list[_SpeechRun]:
    """The runs of phones between the pauses of at least `MIN_PAUSE`."""
    phones = utterance.phones or ()
    ends = [*(start for _, start in phones[1:]), utterance.duration or phones[-1][1]]
    runs: list[_SpeechRun] = []
    current: _SpeechRun | None = None
    for (phone, start), end in zip(phones, ends, strict=True):
        if phone:
            run = current or _SpeechRun(start, end, 0)
            current = replace(run, end=end, num_phones=run.num_phones + 1)
        elif current is not None and end - start >= MIN_PAUSE:
            runs.append(replace(current, pause=end - start))
            current = None
    if current is not None:
        runs.append(current)
    return runs


def excerpts(utterances: list[Utterance], min_words: int, max_words: int) -> list[Utterance]:
    """Cut phrases of `min_words` to `max_words` words out of aligned utterances.

    A text without a final punctuation mark gets a full stop, because that is how users write short texts. A phrase that
    is nearly the whole utterance is not cut out.

    Args:
        utterances: Utterances with durations and, if they are aligned, phones.
        min_words: Minimum number of words of an excerpt.
        max_words: Maximum number of words of an excerpt.

    Returns:
        The excerpts, whose ids are those of their utterances with a number.

    Raises:
        UserError: A transcript cannot be normalized.
    """
    result = []
    for utterance, utterance_phrases in zip(utterances, phrases(utterances), strict=True):
        assert utterance.duration is not None
        # Half of a pause belongs to each of its neighbours, so that excerpts never overlap.
        available_before = MARGIN
        for number, phrase in enumerate(utterance_phrases):
            start = max(0.0, phrase.start - min(MARGIN, available_before))
            end = min(utterance.duration, phrase.end + min(MARGIN, phrase.pause / 2 or MARGIN))
            available_before = phrase.pause / 2
            is_whole = end - start > MAX_SHARE * utterance.duration
            if is_whole or not phrase.matches_phones or not min_words <= len(phrase.words) <= max_words:
                continue
            excerpt = replace(
                utterance,
                id=f"{utterance.id}-{number:02d}",
                text=_punctuate(phrase.words),
                start=round(utterance.start + start, 3),
                end=round(utterance.start + end, 3),
                duration=round(end - start, 3),
                phones=_phones_between(utterance.phones or (), start, end),
            )
            result.append(excerpt)
    return result


def _punctuate(words: tuple[str, ...]) -> str:
    """Join words to a text that ends with a full stop, a question mark or an exclamation mark."""
    text = " ".join(words).rstrip(",;:")
    return text if text[-1] in ".?!" else f"{text}."


def _phones_between(phones: tuple[tuple[str, float], ...], start: float, end: float) -> tuple[tuple[str, float], ...]:
    """The phones from `start` to `end`, with times relative to `start`; the phone at `start` comes first."""
    at_start = [phone for phone, time in phones if time <= start][-1:]
    after_start = [(phone, round(time - start, 3)) for phone, time in phones if start < time < end]
    return tuple([(phone, 0.0) for phone in at_start] + after_start)


def with_prompts(utterances: list[Utterance], pool: list[Utterance], seed: int) -> list[Utterance]:
    """Select an untranscribed prompt for each utterance: 1 to 3 seconds of other speech of its speaker.

    Args:
        utterances: Utterances that get prompts.
        pool: Utterances that prompts are taken from, with durations. The part that overlaps an utterance is never
            selected as its prompt.
        seed: Seed of the selection.

    Returns:
        The utterances; without a prompt if the speaker has no other speech of at least one second.
    """
    segments_of_speaker = defaultdict(list)
    for u in pool:
        segments_of_speaker[u.speaker].append(_segment(u))
    result = []
    for u in utterances:
        # A generator per utterance, so that a prompt does not depend on which other utterances there are.
        rng = random.Random(f"{seed} {u.id}")
        own = _segment(u)
        candidates = [part for segment in segments_of_speaker[u.speaker] for part in _outside(segment, own)]
        candidates = [part for part in candidates if part.end - part.start >= MIN_PROMPT]
        result.append(replace(u, prompt=_crop(rng.choice(candidates), rng) if candidates else None))
    return result


def _segment(utterance: Utterance) -> AudioSegment:
    """The audio of an utterance."""
    return AudioSegment(utterance.path, utterance.start, utterance.start + (utterance.duration or 0.0))


def _outside(segment: AudioSegment, excluded: AudioSegment) -> list[AudioSegment]:
    """The parts of a segment before and after another one."""
    if segment.path != excluded.path or segment.end <= excluded.start or excluded.end <= segment.start:
        return [segment]
    return [replace(segment, end=excluded.start), replace(segment, start=excluded.end)]


def _crop(segment: AudioSegment, rng: random.Random) -> AudioSegment:
    """A random part of 1 to 3 seconds of a segment; long ones are more likely."""
    length = min(rng.triangular(MIN_PROMPT, MAX_PROMPT, MAX_PROMPT), segment.end - segment.start)
    start = rng.uniform(segment.start, segment.end - length)
    return AudioSegment(segment.path, round(start, 3), round(start + length, 3))
