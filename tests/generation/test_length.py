"""Length of speech: a minimum duration, truncation without an EOS token, and splitting of long texts."""

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
from valle.generation.engine import generate, stream
from valle.generation.request import GenerationRequest
from valle.models.ar import AR
from valle.models.sampling import Sampling
from valle.synthesis import TTS, IncompleteWarning
from valle.synthesis.lengths import MIN_SECONDS
from valle.synthesis.planning import MAX_PART

SHORT = ["Hi.", "Yes, please.", "Good morning.", "Hello there.", "Stop!"]
LONG = (
    "The river was warm and the old baker walked home. His dog ran after a young cat. The cat sat on the wall and "
    "looked at the moon. In the morning the children came with bread and milk. They sang a song about the sea. Then "
    "the rain began, and everybody went into the house."
)


def make_early_eos_ar(size: int) -> AR:
    """Make an AR model that gives EOS the highest probability at every step."""
    torch.manual_seed(0)
    model = sharpen(AR(12, TINY, codebook_size=50, group_size=size, tie_embeddings=False)).eval()
    predict = model.predict_group

    def predict_eos(hidden: torch.Tensor) -> torch.Tensor:
        logits = predict(hidden)
        logits[..., model.eos] += 1000
        return logits

    model.predict_group = predict_eos  # type: ignore[method-assign]
    return model


@pytest.mark.parametrize("size", [1, 2, 4])
@pytest.mark.parametrize(
    "sampling", [Sampling(), Sampling(top_p=0.5), Sampling(repetition_aware=True, ras_threshold=0)]
)
def test_eos_is_not_sampled_before_the_minimum_and_is_right_after_it(size: int, sampling: Sampling) -> None:
    model = make_early_eos_ar(size)
    text = torch.tensor([1, 2, 3])
    prompt = torch.arange(8)
    minima = [0, 1, 7, 16, 33, 99]
    requests = [GenerationRequest(text, prompt, 40, [3, 4], min_frames) for min_frames in minima]
    for min_frames, candidates in zip(minima, generate(model, requests, sampling), strict=True):
        groups = max(1, -(-min(min_frames, 40) // size))
        for candidate, seed in zip(candidates, (3, 4), strict=True):
            assert len(candidate.codes) == groups * size
            assert candidate.truncated == (groups * size >= 40)
            ((single,),) = generate(model, [GenerationRequest(text, prompt, 40, [seed], min_frames)], sampling)
            assert torch.equal(candidate.codes, single.codes)
        last = list(stream(model, GenerationRequest(text, prompt, 40, [3], min_frames), sampling, 8))[-1]
        assert torch.equal(last.codes, candidates[0].codes)


@pytest.fixture(scope="module")
def small() -> TTS:
    return valle.load("small")


def transcribe(recordings: list[valle.Audio]) -> list[str]:
    """Return the normalized transcripts of the recognizer."""
    samples = [audio.resample(recording.samples, recording.sample_rate, 16_000) for recording in recordings]
    return [words(transcript) for transcript in load_recognizer().transcribe(samples)]


def word_error_rate(text: str, transcript: str) -> float:
    return jiwer.wer(words(text), transcript) if transcript else 1.0


def test_short_texts_are_never_near_empty_and_have_few_word_errors(small: TTS, speech: Path) -> None:
    for prompt in (small.prompt(speech), small.prompt(speech, "The quick brown fox jumps over the lazy dog.")):
        outputs = small.synthesize_batch(SHORT, [prompt] * len(SHORT), list(range(len(SHORT))))
        assert min(output.audio.duration for output in outputs) > MIN_SECONDS
        assert not any(output.incomplete for output in outputs)
    transcripts = transcribe([output.audio for output in outputs])
    rates = [word_error_rate(text, transcript) for text, transcript in zip(SHORT, transcripts, strict=True)]
    assert np.mean(np.minimum(rates, 1)) <= 0.4


def test_greedy_decoding_is_not_near_empty(small: TTS, speech: Path) -> None:
    for text in ("Hello there.", "The the the the cat."):
        for output in (
            small.synthesize(text, speech, sampling=Sampling(temperature=0)),
            valle.Audio(np.concatenate([chunk.samples for chunk in small.stream(text, speech)]), 16_000),
        ):
            assert output.duration > MIN_SECONDS + 0.05 * 5


def test_long_text_is_split_at_sentences_and_synthesized_completely(small: TTS, speech: Path) -> None:
    prompt = small.prompt(speech)
    symbols = small.encode_text(LONG).symbols
    assert len(symbols) > 1.5 * MAX_PART
    (output,) = small.synthesize_batch([LONG], [prompt], [0])
    assert not output.truncated
    (transcript,) = transcribe([output.audio])
    assert word_error_rate(LONG, transcript) < 0.35
    batch = small.synthesize_batch([LONG, "Yes."], [prompt, prompt], [0, 1])
    assert torch.equal(batch[0].codes, output.codes)
    streamed = np.concatenate([chunk.samples for chunk in small.stream(LONG, prompt)])
    assert 0.5 < len(streamed) / len(output.audio.samples) < 2


def test_missing_words_give_a_warning(small: TTS, speech: Path) -> None:
    prompt = small.prompt(speech)
    noisy = Sampling(temperature=20.0)
    with pytest.warns(IncompleteWarning, match="'Hello there.': .* phones are missing"):
        (output,) = small.synthesize_batch(["Hello there."], [prompt], [0], sampling=noisy)
    assert output.incomplete
    assert output.quality is not None
    assert output.quality.verdict == "incomplete"
    with warnings.catch_warnings():
        warnings.simplefilter("error", IncompleteWarning)
        (output,) = small.synthesize_batch(["Hello there."], [prompt], [0])
    assert not output.incomplete


def test_codec_without_phone_labels_has_no_quality(run_directory: Path, speech: Path) -> None:
    tts = valle.load(run_directory)
    (output,) = tts.synthesize_batch(["The baker sold a loaf."], [tts.prompt(speech)], [0])
    assert (output.quality, output.incomplete) == (None, False)


def test_short_text_by_the_command_is_not_near_empty(speech: Path, tmp_path: Path) -> None:
    command("valle-synth", "--prompt", speech, "--text", "Hi.", "-o", tmp_path / "hi.wav")
    assert audio.duration(tmp_path / "hi.wav") > MIN_SECONDS
