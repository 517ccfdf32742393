"""Codec merging (VALL-E R): consecutive frames share one code of the first codebook."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import valle
from tests.conftest import command, noise, train
from valle import audio, codec
from valle.codec.merging import first_codes, repeat_codes
from valle.codec.phone_labelled import PhoneLabelledCodec, quantize_with_phones
from valle.codec.quantizer import codebook_vectors, mean_of_frames, quantize
from valle.data.tokens import TokensConfig
from valle.errors import UserError
from valle.synthesis.prompt import Prompt

RATE = 16_000


@pytest.mark.parametrize("name", ["mini", "small"])
@pytest.mark.parametrize("factor", [2, 3])
def test_first_code_is_of_the_mean_and_the_others_quantize_the_remainder(name: str, factor: int) -> None:
    merged = codec.load(f"{name}:merge{factor}")
    plain = codec.load(name)
    samples = audio.resample(noise(1.01), RATE, plain.sample_rate)
    codes = merged.encode(samples, plain.sample_rate)
    assert len(codes) % factor == 0
    assert 0 <= len(codes) - len(plain.encode(samples, plain.sample_rate)) < factor
    padded = torch.from_numpy(np.pad(samples, (0, len(codes) * plain.hop - len(samples))))[None]
    with torch.inference_mode():
        latent = plain.network.encode_latent(padded, torch.tensor([len(codes)]))[0]  # type: ignore[attr-defined]
    vectors = plain.codebooks
    means = latent.unflatten(0, (-1, factor)).mean(1).repeat_interleave(factor, 0)
    assert torch.equal(codes[:, 0], torch.cdist(means, vectors[0]).argmin(1))
    remainder = latent - vectors[0][codes[:, 0]]
    for book in range(1, 8):
        nearest = torch.cdist(remainder, vectors[book]).argmin(1)
        assert (codes[:, book] == nearest).float().mean() > 0.99
        remainder = remainder - vectors[book][codes[:, book]]
    assert len(merged.decode(codes)) == len(codes) * plain.hop


def test_encodec_merges_its_first_codebook(tmp_path: Path) -> None:
    from tests.codec.test_encodec import write_random_weights

    write_random_weights(tmp_path)
    plain = codec.load("encodec_24khz", tmp_path)
    merged = codec.load("encodec_24khz:merge2", tmp_path)
    samples = noise(0.5, 24_000)
    padded = torch.from_numpy(np.pad(samples, (0, 38 * 320 - len(samples))))[None, None]
    with torch.inference_mode():
        latent = plain.model.encoder(padded)[0].T  # type: ignore[attr-defined]
    # Random networks have nearly constant latents: the codebooks are spread as they are.
    for item in (plain, merged):
        generator = torch.Generator().manual_seed(0)
        for number, layer in enumerate(item.model.quantizer.vq.layers):  # type: ignore[attr-defined]
            entries = latent.std(0) * torch.randn(1024, 128, generator=generator)
            layer._codebook.embed.copy_(entries + (latent.mean(0) if number == 0 else 0))
    codes = merged.encode(samples, 24_000)
    assert codes.shape == (38, 8)
    means = latent.unflatten(0, (-1, 2)).mean(1).repeat_interleave(2, 0)
    assert torch.equal(codes[:, 0], torch.cdist(means, merged.codebooks[0]).argmin(1))
    whole = plain.encode(padded[0, 0].numpy(), 24_000)
    assert not torch.equal(codes, whole)
    # Without merging, the function gives the codec's own codes.
    assert torch.equal(quantize(plain.model.quantizer, latent[None])[0, :, :8], whole)  # type: ignore[attr-defined]


def test_long_recordings_are_merged_as_a_whole() -> None:
    """Groups of merged frames do not depend on the chunks that a recording is encoded in."""
    merged = codec.load("small:merge2")
    codes = merged.encode(noise(35.0, merged.sample_rate), merged.sample_rate)
    assert torch.equal(codes[::2, 0], codes[1::2, 0])


def test_phones_of_merged_frames_choose_one_code() -> None:
    small = codec.load("small:merge2")
    assert isinstance(small, PhoneLabelledCodec)
    quantizer = small.network.quantizer
    latent = torch.randn(1, 8, codebook_vectors(quantizer).shape[2], generator=torch.Generator().manual_seed(0))
    phones = small.phones[small.phones >= 0][:8][None]
    codes = quantize_with_phones(quantizer, latent, phones, merge=2)
    assert torch.equal(codes[0, ::2, 0], codes[0, 1::2, 0])


def test_mean_repeat_and_selection_of_frames() -> None:
    latent = torch.arange(5.0)[None, :, None]
    assert mean_of_frames(latent, 2)[0, :, 0].tolist() == [0.5, 0.5, 2.5, 2.5, 4.0]
    codes = torch.tensor([[3, 3, 7, 7]])
    assert first_codes(codes, 2).tolist() == [[3, 7]]
    assert torch.equal(repeat_codes(first_codes(codes, 2), 2), codes)


@pytest.mark.parametrize("suffix", [":merge1", ":merge5", ":mergex", ":merge"])
def test_other_factors_are_refused(suffix: str) -> None:
    with pytest.raises(UserError, match=f"small{suffix}"):
        codec.load(f"small{suffix}")


def test_models_of_merged_codes_predict_one_code_for_two_frames(corpus: Path, speech: Path, tmp_path: Path) -> None:
    """From the recordings to synthesized speech, as a user runs it."""
    for subset in ("train", "valid"):
        command("valle-tokenize", corpus / subset, tmp_path / "tokens" / subset, "--codec", "mini:merge2")
    assert TokensConfig.read(tmp_path / "tokens" / "train").codec == "mini:merge2"
    options = ["--trainer.val_check_interval=1", "--trainer.check_val_every_n_epoch=null"]
    stream = ["--model.init_args.phoneme_stream=true", "--model.init_args.untranscribed_prompt_prob=0.5"]
    train("ARModule", tmp_path / "tokens", tmp_path / "run" / "ar", 3, *options, *stream)
    train("NARModule", tmp_path / "tokens", tmp_path / "run" / "nar", 1)
    tts = valle.load(tmp_path / "run")
    prompts = [tts.prompt(speech), Prompt(tts.codec.encode(noise(0.5), RATE), ("h",), "transcribed")]
    for result in tts.synthesize_batch(["A cat."] * 2, prompts, [0, 1]):
        assert torch.equal(result.codes[::2, 0], result.codes[1::2, 0])
        assert result.durations is not None
        assert sum(frames for _, frames in result.durations) == len(result.codes)
    symbols = tts.encode_text("A cat.").symbols
    durations = [4, *(0 if symbol in " ˈˌ" else 6 for symbol in symbols)]
    (given,) = tts.synthesize_batch(["A cat."], prompts[:1], [0], durations=[durations])
    assert given.durations is not None
    assert [frames for _, frames in given.durations] == durations
    chunks = list(tts.stream("A cat.", prompts[0], seed=0))
    (whole,) = tts.synthesize_batch(["A cat."], prompts[:1], [0], attempts=1)
    assert sum(chunk.duration for chunk in chunks) == pytest.approx(whole.audio.duration, abs=0.05)
    shutil.rmtree(tmp_path / "run")
