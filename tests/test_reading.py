"""Whether speech says its text is read from its first codes."""

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import valle
from valle.errors import UserError
from valle.models.sampling import Sampling
from valle.synthesis.reading import PAUSE, misread, phones_of
from valle.synthesis.tts import ATTEMPT_SEED
from valle.text import normalize, phonemize
from valle.text.phones import PHONE_CLASSES, phone_class

RATE = 50.0
PHONE = st.integers(1, len(PHONE_CLASSES) - 1)


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


def test_nothing_said_is_no_reading() -> None:
    assert misread(np.array([], dtype=int), [3], RATE) == np.inf
    assert misread(np.array([3]), [3, 4], RATE) == np.inf  # fewer frames than phones


def test_the_phones_of_a_text_leave_its_marks_out() -> None:
    symbols = phonemize([normalize("Well, a cat!")])[0]
    assert phones_of(symbols) == [phone_class(p) for p in ("w", "ɛ", "l", "ɐ", "k", "æ", "t")]


def test_of_several_attempts_the_one_that_says_the_text_best_is_kept(speech: Path) -> None:
    tts = valle.load("small")
    text, prompt, sampling = "The river was warm.", tts.prompt(speech), Sampling(top_p=1.0, temperature=1.3)
    draws = [
        tts.synthesize_batch([text], [prompt], [3 + ATTEMPT_SEED * a], sampling, attempts=1)[0].codes for a in range(4)
    ]
    phones = tts.codec.phones
    assert phones is not None
    target = phones_of(tts.symbols([text])[0])
    wrong = [misread(phones[codes[:, 0]].numpy(), target, tts.codec.frame_rate) for codes in draws]
    assert len(set(wrong)) > 1
    kept = tts.synthesize_batch([text], [prompt], [3], sampling, attempts=4)[0].codes
    assert kept.tolist() == draws[int(np.argmin(wrong))].tolist()
    two = tts.synthesize_batch([text, text], [prompt] * 2, [3, 3], sampling, candidates=2, attempts=2)
    assert [s.codes.tolist() for s in two[:2]] == [s.codes.tolist() for s in two[2:]]


def test_codes_that_name_no_phones_cannot_be_read(run_directory: Path, speech: Path) -> None:
    with pytest.raises(UserError, match="attempts 2"):
        valle.load(run_directory).synthesize("One.", speech, attempts=2)
