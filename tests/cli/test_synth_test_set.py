"""Prompts of test sets as `valle-synth --data` reads them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import valle
from valle.cli.synth_test_set import read_prompt, text_of_segment
from valle.data import kaldi
from valle.data.phoneme_timing import symbol_starts
from valle.evaluation.test_set import PromptChoice, choose_prompts
from valle.synthesis import TTS


@pytest.fixture(scope="module")
def tts() -> TTS:
    return valle.load("small")


@pytest.fixture(scope="module")
def choice(corpus: Path) -> PromptChoice:
    """A prompt of one second, by VALL-E's protocol."""
    utterances = [u for u in kaldi.read(corpus / "train") if u.phones and u.duration > 1.5]
    return choose_prompts(utterances, "reference", 1.0)[utterances[0].id]


def test_segment_as_prompt_has_the_text_of_its_phones(tts: TTS, choice: PromptChoice, tmp_path: Path) -> None:
    """VALL-E, section 4.3: the phonemes of the prompt precede those of the target."""
    assert choice.text is None
    segment = text_of_segment(tts, choice)
    assert segment is not None
    whole = tts.encode_text(choice.utterance.text)
    count = len(segment.symbols)
    assert 3 < count < len(whole.symbols)
    assert (segment.symbols, segment.ids) == (whole.symbols[:count], whole.ids[:count])
    starts = symbol_starts(list(whole.symbols), choice.utterance.phones)
    assert starts[count - 1] < 1.0 <= starts[count]
    choice.read().save(tmp_path / "prompt.wav")
    prompt = read_prompt(tts, choice, tmp_path / "prompt.wav", voice_alone=False)
    assert (prompt.mode, tuple(prompt.symbols)) == ("transcribed", segment.symbols)
    assert read_prompt(tts, choice, tmp_path / "prompt.wav", voice_alone=True).mode == "untranscribed"


def test_segment_without_alignment_is_an_untranscribed_prompt(tts: TTS, choice: PromptChoice, tmp_path: Path) -> None:
    unaligned = replace(choice, utterance=replace(choice.utterance, phones=None))
    assert text_of_segment(tts, unaligned) is None
    choice.read().save(tmp_path / "prompt.wav")
    assert read_prompt(tts, unaligned, tmp_path / "prompt.wav", voice_alone=False).mode == "untranscribed"
