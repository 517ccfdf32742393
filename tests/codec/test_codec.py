"""The codec interface and the bundled codecs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.codec.conftest import magnitude_correlation
from tests.conftest import noise
from valle import audio, codec
from valle.codec import base
from valle.errors import UserError


def test_bundled_codec_reconstructs_speech(bundled: base.Codec, speech: Path) -> None:
    recording = audio.read(speech)
    codes = bundled.encode(recording.samples, recording.sample_rate)
    assert codes.dtype == torch.int64
    assert codes.shape == (-(-len(recording.samples) // 320), 8)
    decoded = bundled.decode(codes)[: len(recording.samples)]
    # A codec with phases also preserves the spectrum of the whole utterance.
    if bundled.name == "mini":
        compressed = [np.abs(np.fft.rfft(samples)) ** 0.3 for samples in (recording.samples, decoded)]
        assert np.corrcoef(*compressed)[0, 1] > 0.8
    assert magnitude_correlation(recording.samples, decoded) > 0.85
    assert bundled.frame_rate == 50


def test_every_codebook_improves_the_reconstruction(bundled: base.Codec, speech: Path) -> None:
    samples = audio.read(speech).samples
    codes = bundled.encode(samples, 16_000)
    correlations = [magnitude_correlation(samples, bundled.decode(codes[:, :n])[: len(samples)]) for n in (1, 2, 4, 8)]
    assert correlations == sorted(correlations)
    assert 1 - correlations[-1] < 0.7 * (1 - correlations[0])


def test_batch_gives_the_codes_and_waveforms_of_single_items(bundled: base.Codec, speech: Path) -> None:
    samples = audio.read(speech).samples
    items = [samples, samples[4000:20_000], samples[:1]]
    batch = bundled.encode_batch(items, 16_000)
    for item, codes in zip(items, batch, strict=True):
        assert torch.equal(codes, bundled.encode(item, 16_000))
    for codes, waveform in zip(batch, bundled.decode_batch(batch), strict=True):
        np.testing.assert_array_equal(waveform, bundled.decode(codes))


def test_chunks_give_the_codes_and_waveform_of_the_whole(
    bundled: base.Codec, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.tile(audio.read(speech).samples, 3)
    codes = bundled.encode(samples, 16_000)
    waveform = bundled.decode(codes)
    # An odd chunk length: chunks without phases have to be read from an even frame on.
    for frames in (100, 75):
        monkeypatch.setattr(base, "CHUNK_FRAMES", frames)
        assert torch.equal(bundled.encode(samples, 16_000), codes)
        np.testing.assert_allclose(bundled.decode(codes), waveform, atol=1e-4)


def test_chunk_starts_are_multiples_that_include_the_context(bundled: base.Codec) -> None:
    for frame in range(200):
        start = bundled.chunk_start(frame)
        assert start % bundled.chunk_multiple == 0
        assert max(0, frame - bundled.context - bundled.chunk_multiple) <= start <= max(0, frame - bundled.context)
    assert bundled.chunk_multiple == {"mini": 1, "small": 2}[bundled.name]


def test_other_sample_rates_are_resampled(bundled: base.Codec) -> None:
    assert len(bundled.encode(noise(1.0, 24_000), 24_000)) == 50


def test_codes_out_of_range_are_refused(bundled: base.Codec) -> None:
    for codes in (torch.zeros(5, 9, dtype=torch.long), torch.full((5, 8), 1024), torch.zeros(0, 8, dtype=torch.long)):
        with pytest.raises(ValueError, match="codes"):
            bundled.decode(codes)


def test_empty_and_two_dimensional_waveforms_are_refused(bundled: base.Codec) -> None:
    for samples in (np.zeros(0, np.float32), np.zeros((2, 320), np.float32)):
        with pytest.raises(ValueError, match="samples of shape"):
            bundled.encode(samples, 16_000)


@pytest.mark.parametrize("name", ["mini", "small"])
def test_loading_samples_no_random_numbers_and_leaves_no_weight_uninitialized(name: str) -> None:
    before = torch.get_rng_state()
    first = codec.load(name).network.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    second = codec.load(name).network.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert all(torch.isfinite(tensor).all() for tensor in first.values())


def test_missing_weights_and_unknown_names_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--codec-dir"):
        codec.load("encodec_24khz", tmp_path)
    with pytest.raises(UserError, match="not known"):
        codec.load("nonsense")
    (tmp_path / "codec.json").write_text("{}")
    with pytest.raises(UserError, match="missing"):
        codec.load(tmp_path)
