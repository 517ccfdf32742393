"""How long speech is: never shorter than a fast speaker's, cut when it does not end, split when the text is long."""

from __future__ import annotations

import warnings
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch

import valle
from tests.conftest import TINY, command, sharpen
from valle import audio
from valle.evaluation.recognizer import load_recognizer, words
from valle.generation.engine import GenerationRequest, generate, stream
from valle.models.ar import AR
from valle.models.sampling import Sampling
from valle.synthesis import TTS, IncompleteWarning
from valle.synthesis.lengths import MIN_SECONDS
from valle.synthesis.parts import MAX_PART

SHORT = ["Hi.", "Yes, please.", "Good morning.", "Hello there.", "Stop!"]
LONG = (
    "The river was warm and the old baker walked home. His dog ran after a young cat. The cat sat on the wall and "
    "looked at the moon. In the morning the children came with bread and milk. They sang a song about the sea. Then "
    "the rain began, and everybody went into the house."
)


def eager(size: int) -> AR:
    """A model to which EOS is the likeliest code at every step."""
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, tie_embeddings=False)).eval()
    predict = model.predict_group

    def end_at_once(hidden: torch.Tensor) -> torch.Tensor:
        logits = predict(hidden)
        logits[..., model.eos] += 1000
        return logits

    model.predict_group = end_at_once  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_p=0.5), Sampling(repetition_aware=True, ras_threshold=0)]
)
def test_eos_is_not_sampled_before_the_minimum_and_is_right_after_it(size: int, sampling: Sampling) -> None:
    model = eager(size)
    text, prompt = torch.tensor([1, 2, 3]), torch.arange(8)
    minima = [0, 1, 7, 16, 33, 99]
    requests = [GenerationRequest(text, prompt, 40, [3, 4], least) for least in minima]
    for least, rows in zip(minima, generate(model, requests, sampling), strict=True):
        groups = max(1, -(-min(least, 40) // size))
        for row, seed in zip(rows, (3, 4), strict=True):
            assert len(row.codes) == groups * size
            assert row.truncated == (groups * size >= 40)
            ((alone,),) = generate(model, [GenerationRequest(text, prompt, 40, [seed], least)], sampling)
            assert torch.equal(row.codes, alone.codes)
        last = list(stream(model, GenerationRequest(text, prompt, 40, [3], least), sampling, 8))[-1]
        assert torch.equal(last.codes, rows[0].codes)


@pytest.fixture(scope="module")
def small() -> TTS:
    return valle.load("small")


def heard(sounds: list[valle.Audio]) -> list[list[str]]:
    samples = [audio.resample(sound.samples, sound.sample_rate, 16_000) for sound in sounds]
    return [words(transcript).split() for transcript in load_recognizer().transcribe(samples)]


def word_errors(text: str, transcript: list[str]) -> float:
    return jiwer.wer(words(text), " ".join(transcript)) if transcript else 1.0


def test_short_texts_are_never_near_empty_and_have_few_word_errors(small: TTS, speech: Path) -> None:
    for prompt in (small.prompt(speech), small.prompt(speech, "The quick brown fox jumps over the lazy dog.")):
        spoken = small.synthesize_batch(SHORT, [prompt] * len(SHORT), list(range(len(SHORT))))
        assert min(item.audio.duration for item in spoken) > MIN_SECONDS
        assert not any(item.incomplete for item in spoken)
    errors = [word_errors(text, found) for text, found in zip(SHORT, heard([s.audio for s in spoken]), strict=True)]
    assert np.mean(np.minimum(errors, 1)) <= 0.4


def test_greedy_decoding_is_not_near_empty(small: TTS, speech: Path) -> None:
    for text in ("Hello there.", "The the the the cat."):
        for found in (
            small.synthesize(text, speech, sampling=Sampling(temperature=0)),
            valle.Audio(np.concatenate([chunk.samples for chunk in small.stream(text, speech)]), 16_000),
        ):
            assert found.duration > MIN_SECONDS + 0.05 * 5


def test_long_text_is_split_at_sentences_and_synthesized_completely(small: TTS, speech: Path) -> None:
    prompt = small.prompt(speech)
    symbols = small.encode_text(LONG).symbols
    assert len(symbols) > 1.5 * MAX_PART
    (spoken,) = small.synthesize_batch([LONG], [prompt], [0])
    assert not spoken.truncated
    (transcript,) = heard([spoken.audio])
    assert word_errors(LONG, transcript) < 0.35
    parts = small.synthesize_batch([LONG, "Yes."], [prompt, prompt], [0, 1])
    assert torch.equal(parts[0].codes, spoken.codes)  # in a batch as alone
    streamed = np.concatenate([chunk.samples for chunk in small.stream(LONG, prompt)])
    assert 0.5 < len(streamed) / len(spoken.audio.samples) < 2


def test_missing_words_are_warned_of(small: TTS, speech: Path) -> None:
    prompt, babble = small.prompt(speech), Sampling(temperature=20.0)
    with pytest.warns(IncompleteWarning, match="'Hello there.': .* phones are missing"):
        (spoken,) = small.synthesize_batch(["Hello there."], [prompt], [0], sampling=babble)
    assert spoken.incomplete
    assert spoken.quality is not None
    assert spoken.quality.verdict == "incomplete"
    with warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        (spoken,) = small.synthesize_batch(["Hello there."], [prompt], [0])
    assert not spoken.incomplete


def test_codec_without_phone_labels_has_no_quality(run_directory: Path, speech: Path) -> None:
    tts = valle.load(run_directory)
    (spoken,) = tts.synthesize_batch(["The baker sold a loaf."], [tts.prompt(speech)], [0])
    assert (spoken.quality, spoken.incomplete) == (None, False)


def test_short_text_by_the_command_is_not_near_empty(speech: Path, tmp_path: Path) -> None:
    command("valle-synth", "--prompt", speech, "--text", "Hi.", "-o", tmp_path / "hi.wav")
    assert audio.duration(tmp_path / "hi.wav") > MIN_SECONDS
