"""`TTS`: the Python interface of synthesis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import valle
from valle import audio
from valle.models.sampling import NARSampling, Sampling
from valle.synthesis import TTS, Prompt, SynthesisOptions
from valle.synthesis.acoustic import acoustic_input

TEXT = "The baker sold a loaf."


@pytest.fixture(scope="module")
def tts(run_directory: Path) -> TTS:
    # Without a watermark: audio is compared with what the codec decodes.
    return valle.load(run_directory, watermark=False)


def test_synthesize_returns_audio_that_can_be_saved(tts: TTS, speech: Path, tmp_path: Path) -> None:
    output = tts.synthesize(TEXT, prompt=speech, prompt_text=None, seed=3)
    assert isinstance(output, valle.Audio)
    assert output.sample_rate == 16_000
    assert np.isfinite(output.samples).all()
    output.save(tmp_path / "x.flac")
    assert abs(audio.duration(tmp_path / "x.flac") - output.duration) < 1e-3


def test_prompt_with_text_is_transcribed_and_without_text_is_not(tts: TTS, speech: Path) -> None:
    with_text = tts.prompt(speech, "Some words.")
    assert with_text.mode == "transcribed"
    assert with_text.symbols == tts.encode_text("Some words.").symbols
    without = tts.prompt(speech)
    assert (without.mode, without.symbols) == ("untranscribed", ())
    assert len(without.codes) == 150


def test_continuation_prompt_has_no_text_and_continues_its_own_words(tts: TTS, speech: Path) -> None:
    prompt = tts.continuation_prompt(speech)
    assert (prompt.mode, prompt.symbols) == ("continuation", ())
    # The same prefix without its EOS tokens: other codes than those of an untranscribed prompt.
    (continued,) = tts.synthesize_batch([TEXT], [prompt], [3])
    (untranscribed,) = tts.synthesize_batch([TEXT], [Prompt(prompt.codes)], [3])
    assert not torch.equal(continued.codes[:, 0], untranscribed.codes[:, 0])


def test_prompt_can_be_stereo_at_96_khz(tts: TTS, speech: Path, tmp_path: Path) -> None:
    samples = audio.read(speech, 96_000).samples
    soundfile.write(tmp_path / "wide.wav", np.stack((samples, samples), 1), 96_000)
    assert len(tts.prompt(tmp_path / "wide.wav").codes) == 150


def test_first_codebook_is_the_same_alone_and_in_a_batch(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)
    both = tts.synthesize_batch([TEXT, "The dog ran under the old bridge."], [voice, voice], [4, 5])
    alone = tts.synthesize_batch([TEXT], [voice], [4])[0]
    assert both[0].codes[:, 0].equal(alone.codes[:, 0])


def test_acoustic_prompt_is_no_longer_than_in_training(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech, "Hello there.")
    target = torch.tensor(tts.encode_text(TEXT).ids)
    joint = torch.tensor([*tts.encode_text("Hello there.").ids, *target.tolist()])
    first = torch.zeros(5, dtype=torch.long)
    frames = tts.nar_prompt_frames
    short = replace(voice, codes=voice.codes[:frames])
    item = acoustic_input(short, joint=joint, target=target, first=first, max_prompt=frames)
    assert torch.equal(item.text, joint)
    assert torch.equal(item.prompt, short.codes)
    long = replace(voice, codes=torch.cat((voice.codes, voice.codes, voice.codes)))
    item = acoustic_input(long, joint=joint, target=target, first=first, max_prompt=frames)
    # The middle of the prompt, without its text.
    start = (len(long.codes) - frames) // 2
    assert torch.equal(item.text, target)
    assert torch.equal(item.prompt, long.codes[start : start + frames])


def test_nar_codes_are_greedy_or_sampled_from_the_seed(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)

    def synthesize(seed: int, sampling: NARSampling) -> torch.Tensor:
        options = SynthesisOptions(sampling=Sampling(temperature=0), nar_sampling=sampling)
        return tts.synthesize_batch([TEXT], [voice], [seed], options)[0].codes

    assert torch.equal(synthesize(1, NARSampling(temperature=0)), synthesize(2, NARSampling(temperature=0)))
    sampled = [synthesize(seed, NARSampling(temperature=1.0)) for seed in (1, 1, 2)]
    assert torch.equal(sampled[0], sampled[1])
    assert not torch.equal(sampled[0], sampled[2])
    assert torch.equal(sampled[0][:, 0], sampled[2][:, 0])  # the first codebook is the AR model's
    coarse = synthesize(1, NARSampling(temperature=0, stages=2))
    assert torch.equal(coarse, synthesize(1, NARSampling(temperature=0))[:, :3])
    short = synthesize(1, NARSampling(prompt_seconds=0.2))
    assert torch.equal(short[:, 0], coarse[:, 0])


def test_options_can_be_given_by_name(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)
    sampling = Sampling(top_p=0.9, temperature=0.8)
    (by_name,) = tts.synthesize_batch([TEXT], [voice], [3], sampling=sampling)
    (together,) = tts.synthesize_batch([TEXT], [voice], [3], SynthesisOptions(sampling=sampling))
    assert torch.equal(by_name.codes, together.codes)
    with pytest.raises(TypeError, match="temprature"):
        tts.synthesize_batch([TEXT], [voice], [3], temprature=1.0)
    with pytest.raises(ValueError, match="candidates 0"):
        SynthesisOptions(candidates=0)


def test_encoded_text_is_synthesized_as_the_text(tts: TTS, speech: Path) -> None:
    voice = tts.prompt(speech)
    (from_text,) = tts.synthesize_batch([TEXT], [voice], [3])
    (from_encoded,) = tts.synthesize_batch([tts.encode_text(TEXT)], [voice], [3])
    assert torch.equal(from_text.codes, from_encoded.codes)
