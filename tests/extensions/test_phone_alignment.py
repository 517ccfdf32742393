"""Whether speech says its text is read from its first codes."""

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


def misread(said: np.ndarray, text: list[int], rate: float) -> float:
    """Frames that do not say the text, for each of its phones."""
    return float(align_phones(said, text, rate)[1].sum()) / len(text)


def said(text: list[int], frames: int = 4) -> np.ndarray:
    return np.repeat(text, frames)


@given(st.lists(st.tuples(PHONE, st.integers(1, 25), st.integers(0, 25)), min_size=1, max_size=40))
def test_a_text_said_in_order_is_read_without_a_fault(spoken: list[tuple[int, int, int]]) -> None:
    assume(all(a[2] or a[0] != b[0] for a, b in itertools.pairwise(spoken)))  # where one ends could be anywhere
    frames = [c for phone, lasts, pause in spoken for c in [phone] * lasts + [PAUSE] * pause]
    assert misread(np.array(frames), [phone for phone, *_ in spoken], RATE) == 0


@given(st.lists(PHONE, min_size=8, max_size=30, unique=True), st.data())
def test_what_is_left_out_said_twice_changed_or_endless_is_seen(text: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text) - 4))
    word, after = text[start : start + 4], text[start + 4 :]
    assert misread(said(text[:start] + after), text, RATE) >= 4 / len(text)  # each phone takes a frame of another
    assert misread(said(text[:start] + word + word + after), text, RATE) >= 12 / len(text)
    other = data.draw(PHONE.filter(lambda phone: phone not in text))
    assert misread(said([other if p == word[0] else p for p in text]), text, RATE) >= 4 / len(text)
    pause = np.concatenate((said(text[:start]), np.full(75, PAUSE), said(word + after)))
    assert misread(pause, text, RATE) >= 50 / len(text)  # a second more than half a second
    stuck = np.concatenate((said(text[:start]), np.full(75, word[0]), said(word[1:] + after)))
    assert misread(stuck, text, RATE) >= 50 / len(text)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 70)), min_size=1, max_size=12))
def test_only_pauses_of_over_half_a_second_are_cut(runs: list[tuple[int, int]]) -> None:
    phones = [(PAUSE if phone == 0 else phone, lasts) for phone, lasts in runs]
    merged = [(phone, sum(n for _, n in group)) for phone, group in itertools.groupby(phones, key=lambda run: run[0])]
    frames = np.array([phone for phone, lasts in merged for _ in range(lasts)])
    kept = frames_with_short_pauses(frames, RATE)
    assert (np.diff(kept) > 0).all()
    cut = [phone for phone, lasts in merged for _ in range(min(lasts, 25) if phone == PAUSE else lasts)]
    assert frames[kept].tolist() == cut


def least_cost(said: np.ndarray, text: list[int]) -> float:
    """What `aligned` minimizes, by trying every assignment of frames to phones and pauses."""
    states = [PAUSE, *(state for phone in text for state in (phone, PAUSE))]
    costs = []
    for path in itertools.combinations_with_replacement(range(len(states)), len(said)):
        if any(state % 2 and said[path.index(state)] != states[state] for state in path):
            continue
        skipped = len(text) - len({state for state in path if state % 2})
        costs.append(MISSING * RATE * skipped + sum(said[i] != states[state] for i, state in enumerate(path)))
    return min(costs)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=5), st.lists(st.integers(1, 3), min_size=1, max_size=3))
def test_an_alignment_has_the_least_cost_of_all(frames: list[int], text: list[int]) -> None:
    path, cost = align_phones(np.array(frames), text, RATE)
    assert (np.diff(path) >= 0).all()
    assert cost.sum() == pytest.approx(least_cost(np.array(frames), text))


def test_a_short_candidate_is_not_preferred_to_a_whole_one() -> None:
    """Of 12 frames of a word of 10 phones most are right; a whole reading with as many wrong frames says more."""
    text = list(range(1, 11))
    cut_off = said(text[:3])
    whole = said(text)
    whole[[1, 5, 9, 13, 17, 21]] = 20
    assert misread(cut_off, text, RATE) > misread(whole, text, RATE)
    assert join_candidates([cut_off, whole], text, RATE) == [(1, 0, 40)]


@given(st.lists(PHONE, min_size=4, max_size=20, unique=True), st.data())
def test_quality_counts_missing_phones_wrong_frames_and_the_rate(text: list[int], data: st.DataObject) -> None:
    dropped = data.draw(st.integers(0, len(text) - 1))
    found = measure_quality(said(text[dropped:]), text, RATE)
    assert (found.phones, found.missing, found.wrong_frames) == (len(text), dropped, 0)
    share = dropped / len(text)
    assert found.verdict == ("incomplete" if share > 0.2 else "doubtful" if share > 0.1 else "complete")
    assert found.phones_per_second == (12.5 if dropped < len(text) else 0)
    twice = found + measure_quality(said(text), text, RATE)
    assert (twice.phones, twice.missing, twice.frames) == (2 * len(text), dropped, 4 * (2 * len(text) - dropped))
    silent = measure_quality(np.full(40, PAUSE), text, RATE)
    assert (silent.missing_phones, silent.verdict) == (1.0, "incomplete")
    repeated = measure_quality(np.concatenate((said(text), said(text[-4:]))), text, RATE)
    assert repeated.missing == 0
    assert repeated.wrong >= 12  # the last phone may count as one that was interrupted
    babble = data.draw(PHONE.filter(lambda phone: phone not in text))
    assert measure_quality(np.concatenate((said(text), np.full(16, babble))), text, RATE).tail == 16
    assert repeated.verdict == ("doubtful" if repeated.wrong_frames > 0.2 else "complete")


def test_candidates_without_frames_are_left_out_and_stay_where_there_is_nothing_else() -> None:
    nothing, short, whole = np.array([], dtype=int), np.array([3]), np.array([3, 4])
    assert join_candidates([nothing, short, whole], [3, 4], RATE) == [(2, 0, 2)]
    assert join_candidates([short, nothing], [3, 4], RATE) == [(0, 0, 1)]
    assert join_candidates([nothing], [3, 4], RATE) == [(0, 0, 0)]


def test_the_phones_of_a_text_leave_its_marks_out() -> None:
    symbols = phonemize([normalize("Well, a cat!")])[0]
    assert phones_of(symbols) == [phone_class(p) for p in ("w", "ɛ", "l", "ɐ", "k", "æ", "t")]
    assert phones_of(["f", "aɪɚ", " ", "ˈ", "ɑːɹ"]) == [phone_class(p) for p in ("f", "aɪ", "ɜː", "ɑː", "ɹ")]


def put_together(draws: list[np.ndarray], pieces: list[tuple[int, int, int]]) -> np.ndarray:
    return np.concatenate([draws[draw][start:end] for draw, start, end in pieces])


@given(st.lists(PHONE, min_size=3, max_size=12, unique=True), st.data())
def test_what_is_put_together_is_misread_no_more_than_the_best_draw(text: list[int], data: st.DataObject) -> None:
    piece = st.tuples(st.sampled_from([PAUSE, *text]), st.integers(1, 9))
    draws = [
        np.array([p for phone, lasts in data.draw(st.lists(piece, min_size=1, max_size=20)) for p in [phone] * lasts])
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    pieces = join_candidates(draws, text, RATE)
    wrong = [misread(draw, text, RATE) for draw in draws]
    assert misread(put_together(draws, pieces), text, RATE) <= min(wrong) + 1e-9
    if len(draws) == 1:
        assert pieces == [(0, 0, len(draws[0]))]


def test_draws_are_put_together_in_pauses_and_only_there() -> None:
    one, two, pause = [3, 4, 5, 6], [7, 8, 9, 10], np.full(10, PAUSE)
    left_out = [np.concatenate((said(one[1:]), pause, said(two))), np.concatenate((said(one), pause, said(two[:-1])))]
    pieces = join_candidates(left_out, one + two, RATE)
    assert pieces == [(1, 0, 16 + 5), (0, 12 + 5, 12 + 10 + 16)]
    assert misread(put_together(left_out, pieces), one + two, RATE) == 0
    without = [np.delete(draw, np.flatnonzero(draw == PAUSE)[2:]) for draw in left_out]  # a pause of 40 ms
    assert len(join_candidates(without, one + two, RATE)) == 1
    late = join_candidates(left_out, one + two, RATE, first=30)  # what is said already stays
    assert len(late) == 1


def test_of_several_attempts_what_says_the_text_best_is_kept(speech: Path) -> None:
    tts = valle.load("small")
    text, prompt, sampling = "The river was warm.", tts.prompt(speech), Sampling(top_p=1.0, temperature=1.3)
    draws = [
        tts.synthesize_batch([text], [prompt], [3 + ATTEMPT_SEED * a], sampling=sampling, attempts=1)[0]
        .codes[:, 0]
        .numpy()
        for a in range(4)
    ]
    phones = tts.codec.phones
    assert phones is not None
    target = phones_of(list(tts.encode_text(text).symbols))
    said = [phones[draw].numpy() for draw in draws]
    assert len({misread(row, target, tts.codec.frame_rate) for row in said}) > 1
    best = put_together(draws, join_candidates(said, target, tts.codec.frame_rate))
    best = best[frames_with_short_pauses(phones[best].numpy(), tts.codec.frame_rate)]
    kept = tts.synthesize_batch([text], [prompt], [3], sampling=sampling, attempts=4)[0].codes
    assert kept[:, 0].tolist() == best.tolist()
    two = tts.synthesize_batch([text, text], [prompt] * 2, [3, 3], sampling=sampling, candidates=2, attempts=2)
    assert [s.codes.tolist() for s in two[:2]] == [s.codes.tolist() for s in two[2:]]


def test_codes_that_name_no_phones_cannot_be_read(run_directory: Path, speech: Path) -> None:
    with pytest.raises(UserError, match="attempts 2"):
        valle.load(run_directory).synthesize("One.", speech, attempts=2)
