"""Speech is aligned with its text by the phones of its first codes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import valle
from valle.errors import UserError
from valle.extensions.phone_alignment import (
    MISSING,
    PAUSE,
    align_phones,
    frames_with_short_pauses,
    join_candidates,
    measure_quality,
    phones_of,
)
from valle.models.sampling import Sampling
from valle.synthesis.selection import ATTEMPT_SEED
from valle.text import normalize, phonemize
from valle.text.phones import PHONE_CLASSES, phone_class

RATE = 50.0
PHONE = st.integers(1, len(PHONE_CLASSES) - 1)


def cost_per_phone(encoded: np.ndarray, text: list[int], rate: float) -> float:
    """Alignment cost per phone of the text."""
    return float(align_phones(encoded, text, rate)[1].sum()) / len(text)


def encode(text: list[int], frames: int = 4) -> np.ndarray:
    """Phones of speech without errors, each of the same number of frames."""
    return np.repeat(text, frames)


@given(st.lists(st.tuples(PHONE, st.integers(1, 25), st.integers(0, 25)), min_size=1, max_size=40))
def test_speech_of_the_whole_text_has_no_cost(spoken: list[tuple[int, int, int]]) -> None:
    # The boundary of two equal phones without a pause is undefined.
    assume(all(a[2] or a[0] != b[0] for a, b in itertools.pairwise(spoken)))
    frames = [c for phone, lasts, pause in spoken for c in [phone] * lasts + [PAUSE] * pause]
    assert cost_per_phone(np.array(frames), [phone for phone, *_ in spoken], RATE) == 0


@given(st.lists(PHONE, min_size=8, max_size=30, unique=True), st.data())
def test_missing_repeated_wrong_and_too_long_phones_have_a_cost(text: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 4))
    word, after = text[start : start + 4], text[start + 4 :]
    # Each missing phone takes a frame of another.
    assert cost_per_phone(encode(text[:start] + after), text, RATE) >= 4 / len(text)
    assert cost_per_phone(encode(text[:start] + word + word + after), text, RATE) >= 12 / len(text)
    other = data.draw(PHONE.filter(lambda phone: phone not in text))
    assert cost_per_phone(encode([other if p == word[0] else p for p in text]), text, RATE) >= 4 / len(text)
    pause = np.concatenate((encode(text[:start]), np.full(75, PAUSE), encode(word + after)))
    # 1.5 s of pause are 1 s longer than the maximum.
    assert cost_per_phone(pause, text, RATE) >= 50 / len(text)
    stuck = np.concatenate((encode(text[:start]), np.full(75, word[0]), encode(word[1:] + after)))
    assert cost_per_phone(stuck, text, RATE) >= 50 / len(text)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70)), min_size=1, max_size=12))
def test_only_pauses_longer_than_half_a_second_are_shortened(runs: list[tuple[int, int]]) -> None:
    phones = [(PAUSE if phone == 0 else phone, lasts) for phone, lasts in runs]
    merged = [(phone, sum(n for _, n in group)) for phone, group in itertools.groupby(phones, key=lambda run: run[0])]
    frames = np.array([phone for phone, lasts in merged for _ in range(lasts)])
    selected = frames_with_short_pauses(frames, RATE)
    assert (np.diff(selected) > 0).all()
    shortened = [phone for phone, lasts in merged for _ in range(min(lasts, 25) if phone == PAUSE else lasts)]
    assert frames[selected].tolist() == shortened


def min_cost(encoded: np.ndarray, text: list[int]) -> float:
    """Minimum cost over all assignments of frames to phones and pauses, by exhaustive search."""
    states = [PAUSE, *(state for phone in text for state in (phone, PAUSE))]
    costs = []
    for path in itertools.combinations_with_replacement(range(len(states)), len(encoded)):
        if any(state % 2 and encoded[path.index(state)] != states[state] for state in path):
            continue
        skipped = len(text) - len({state for state in path if state % 2})
        costs.append(MISSING * RATE * skipped + sum(encoded[i] != states[state] for i, state in enumerate(path)))
    return min(costs)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_alignment_has_the_minimum_cost(frames: list[int], text: list[int]) -> None:
    path, cost = align_phones(np.array(frames), text, RATE)
    assert (np.diff(path) >= 0).all()
    assert cost.sum() == pytest.approx(min_cost(np.array(frames), text))


def test_truncated_candidate_is_not_preferred_to_a_complete_one() -> None:
    """Missing phones cost more than a few wrong frames, although the truncated candidate has no wrong frame."""
    text = list(range(1, 11))
    truncated = encode(text[:3])
    complete = encode(text)
    complete[[1, 5, 9, 13, 17, 21]] = 20
    assert cost_per_phone(truncated, text, RATE) > cost_per_phone(complete, text, RATE)
    assert join_candidates([truncated, complete], text, RATE) == [(1, 0, 40)]


@given(st.lists(PHONE, min_size=4, max_size=20, unique=True), st.data())
def test_quality_counts_missing_phones_and_wrong_frames(text: list[int], data: st.DataObject) -> None:
    dropped = data.draw(st.integers(0, len(text) - 1))
    quality = measure_quality(encode(text[dropped:]), text, RATE)
    assert (quality.phones, quality.missing, quality.wrong_frames) == (len(text), dropped, 0)
    share = dropped / len(text)
    assert quality.verdict == ("incomplete" if share > 0.2 else "doubtful" if share > 0.1 else "complete")
    assert quality.phones_per_second == (12.5 if dropped < len(text) else 0)
    twice = quality + measure_quality(encode(text), text, RATE)
    assert (twice.phones, twice.missing, twice.frames) == (2 * len(text), dropped, 4 * (2 * len(text) - dropped))
    silent = measure_quality(np.full(40, PAUSE), text, RATE)
    assert (silent.missing_phones, silent.verdict) == (1.0, "incomplete")
    repeated = measure_quality(np.concatenate((encode(text), encode(text[-4:]))), text, RATE)
    assert repeated.missing == 0
    # The repeated last phone may be aligned as the continuation of the first one.
    assert repeated.wrong >= 12
    babble = data.draw(PHONE.filter(lambda phone: phone not in text))
    assert measure_quality(np.concatenate((encode(text), np.full(16, babble))), text, RATE).tail == 16
    assert repeated.verdict == ("doubtful" if repeated.wrong_frames > 0.2 else "complete")


def test_candidates_without_frames_are_used_only_without_alternatives() -> None:
    empty = np.array([], dtype=int)
    short = np.array([3])
    complete = np.array([3, 4])
    assert join_candidates([empty, short, complete], [3, 4], RATE) == [(2, 0, 2)]
    assert join_candidates([short, empty], [3, 4], RATE) == [(0, 0, 1)]
    assert join_candidates([empty], [3, 4], RATE) == [(0, 0, 0)]


def test_phones_of_a_text_exclude_its_punctuation() -> None:
    symbols = phonemize([normalize("Well, a cat!")])[0]
    assert phones_of(symbols) == [phone_class(p) for p in ("w", "ɛ", "l", "ɐ", "k", "æ", "t")]
    assert phones_of(["f", "aɪɚ", " ", "ˈ", "ɑːɹ"]) == [phone_class(p) for p in ("f", "aɪ", "ɜː", "ɑː", "ɹ")]


def concatenate(candidates: list[np.ndarray], pieces: list[tuple[int, int, int]]) -> np.ndarray:
    return np.concatenate([candidates[index][start:end] for index, start, end in pieces])


@given(st.lists(PHONE, min_size=3, max_size=12, unique=True), st.data())
def test_joined_candidates_cost_no_more_than_the_best_one(text: list[int], data: st.DataObject) -> None:
    piece = st.tuples(st.sampled_from([PAUSE, *text]), st.integers(1, 9))
    candidates = [
        np.array([p for phone, lasts in data.draw(st.lists(piece, min_size=1, max_size=20)) for p in [phone] * lasts])
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    pieces = join_candidates(candidates, text, RATE)
    wrong = [cost_per_phone(candidate, text, RATE) for candidate in candidates]
    assert cost_per_phone(concatenate(candidates, pieces), text, RATE) <= min(wrong) + 1e-9
    if len(candidates) == 1:
        assert pieces == [(0, 0, len(candidates[0]))]


def test_candidates_are_joined_in_pauses_only() -> None:
    one = [3, 4, 5, 6]
    two = [7, 8, 9, 10]
    pause = np.full(10, PAUSE)
    candidates = [
        np.concatenate((encode(one[1:]), pause, encode(two))),
        np.concatenate((encode(one), pause, encode(two[:-1]))),
    ]
    pieces = join_candidates(candidates, one + two, RATE)
    assert pieces == [(1, 0, 16 + 5), (0, 12 + 5, 12 + 10 + 16)]
    assert cost_per_phone(concatenate(candidates, pieces), one + two, RATE) == 0
    # Pauses of 40 ms are too short to join candidates.
    short_pauses = [np.delete(candidate, np.flatnonzero(candidate == PAUSE)[2:]) for candidate in candidates]
    assert len(join_candidates(short_pauses, one + two, RATE)) == 1
    # Candidates are not cut before the first frame that may change.
    assert len(join_candidates(candidates, one + two, RATE, first=30)) == 1


def test_output_of_several_attempts_is_the_best_joined_candidate(speech: Path) -> None:
    tts = valle.load("small")
    text = "The river was warm."
    prompt = tts.prompt(speech)
    sampling = Sampling(top_p=1.0, temperature=1.3)
    candidates = [
        tts.synthesize_batch([text], [prompt], [3 + ATTEMPT_SEED * a], sampling=sampling, attempts=1)[0]
        .codes[:, 0]
        .numpy()
        for a in range(4)
    ]
    phones = tts.codec.phones
    assert phones is not None
    target = phones_of(list(tts.encode_text(text).symbols))
    encoded = [phones[candidate].numpy() for candidate in candidates]
    assert len({cost_per_phone(row, target, tts.codec.frame_rate) for row in encoded}) > 1
    best = concatenate(candidates, join_candidates(encoded, target, tts.codec.frame_rate))
    best = best[frames_with_short_pauses(phones[best].numpy(), tts.codec.frame_rate)]
    selected = tts.synthesize_batch([text], [prompt], [3], sampling=sampling, attempts=4)[0].codes
    assert selected[:, 0].tolist() == best.tolist()
    two = tts.synthesize_batch([text, text], [prompt] * 2, [3, 3], sampling=sampling, candidates=2, attempts=2)
    assert [s.codes.tolist() for s in two[:2]] == [s.codes.tolist() for s in two[2:]]


def test_several_attempts_need_a_phone_labelled_codec(run_directory: Path, speech: Path) -> None:
    with pytest.raises(UserError, match="attempts 2"):
        valle.load(run_directory).synthesize("One.", speech, attempts=2)
