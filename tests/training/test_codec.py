"""Training of codec networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from valle import audio, codec
from valle.codec.folder import make_codec, save_codec
from valle.codec.frame_rate import FrameRateNetwork
from valle.codec.networks import build_network
from valle.codec.phone_labelled import PhoneLabelledCodec
from valle.codec.quantizer import codebook_vectors
from valle.codec.trained import TrainedCodec
from valle.errors import UserError
from valle.text.phones import PHONE_CLASSES, UNKNOWN
from valle.training.codec import CodecModule

SIZES = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16, "codebook_size": 16, "latent_dim": 8}


def randomize_codebooks(module: CodecModule, first: int = 0) -> None:
    """Fill the codebooks from index `first` on with random vectors."""
    for layer in module.network.quantizer.vq.layers[first:]:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_()


def test_quantizer_dropout_decodes_from_early_codebooks() -> None:
    torch.manual_seed(0)
    module = CodecModule(SIZES, quantize_start=0, quantizer_dropout=1.0)
    assert {module.sample_num_codebooks() for _ in range(64)} == {1, 2, 4}
    assert CodecModule(SIZES, quantizer_dropout=0.0).sample_num_codebooks() == 8
    audio_batch = torch.randn(2, 6400) * 0.1
    phones = torch.zeros(2, 20, dtype=torch.long)
    randomize_codebooks(module)
    module.eval()
    four = module.reconstruct(audio_batch, phones, 4).output
    eight = module.reconstruct(audio_batch, phones, 8).output
    randomize_codebooks(module, first=4)
    assert torch.equal(module.reconstruct(audio_batch, phones, 4).output, four)
    assert not torch.equal(module.reconstruct(audio_batch, phones, 8).output, eight)


def test_envelope_loss_applies_to_the_first_codebook_without_phases() -> None:
    sizes = SIZES | {"phases": False}
    waveforms = torch.randn(1, 3200) * 0.1
    module = CodecModule(sizes, loss_weights={"envelope": 3.0})
    magnitudes = module.network.reconstruction_target(waveforms)
    assert set(module.losses(magnitudes, waveforms, 1)) == {"mel", "magnitude", "envelope"}
    assert set(module.losses(magnitudes, waveforms, 2)) == {"mel", "magnitude"}
    assert "envelope" not in CodecModule(sizes).losses(magnitudes, waveforms, 1)
    with pytest.raises(UserError, match="without phases"):
        CodecModule(sizes | {"phases": True}, loss_weights={"envelope": 3.0})


def test_phone_loss_reaches_the_encoder_through_the_first_codebook_alone() -> None:
    torch.manual_seed(0)
    module = CodecModule(SIZES, quantize_start=0, phone_loss=1.0, commitment=0.0)
    randomize_codebooks(module)
    waveforms = torch.randn(2, 6400) * 0.1
    phones = torch.randint(len(PHONE_CLASSES), (2, 20))
    reconstruction = module.train().reconstruct(waveforms, phones, 8)
    torch.testing.assert_close(reconstruction.latent_loss, reconstruction.metrics["phone"])
    reconstruction.latent_loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in module.network.encoder.head.parameters())
    module.eval()
    loss = module.reconstruct(waveforms, phones, 8).metrics["phone"]
    randomize_codebooks(module, first=1)
    torch.testing.assert_close(module.reconstruct(waveforms, phones, 8).metrics["phone"], loss)


def test_unaligned_batches_have_no_phone_loss() -> None:
    module = CodecModule(SIZES, quantize_start=0, phone_loss=1.0)
    randomize_codebooks(module)
    unaligned = torch.full((2, 20), UNKNOWN)
    assert "phone" not in module.eval().reconstruct(torch.randn(2, 6400) * 0.1, unaligned, 8).metrics


def test_training_continues_from_the_bundled_codec(speech: Path) -> None:
    mini = codec.load("mini")
    module = CodecModule({"kind": "frame_rate"}, quantize_start=0)
    module.start_from(mini)
    samples = audio.read(speech, 16_000).samples
    frames = len(samples) // 320 * 320
    latent = module.network.encode_latent(torch.from_numpy(samples[None, :frames]))
    codes = module.network.quantizer.vq.encode(latent.transpose(1, 2))[:, 0].T
    assert torch.equal(codes[:-8], mini.encode(samples[:frames], 16_000)[:-8])
    module.train()
    before = codebook_vectors(module.network.quantizer).clone()
    module.reconstruct(torch.from_numpy(samples[None, :32_000]), torch.full((1, 100), UNKNOWN), 8)
    change = (codebook_vectors(module.network.quantizer) - before).norm() / before.norm()
    # The moving averages are initialized, so that one step changes a codebook only a little.
    assert 0 < change < 0.1
    with pytest.raises(UserError, match="other sizes"):
        CodecModule(SIZES, quantize_start=0).start_from(mini)


def test_network_without_phases_starts_from_one_with_phases() -> None:
    sizes = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16}
    other = TrainedCodec("other", build_network(sizes))
    module = CodecModule({**sizes, "phases": False}, quantize_start=0)
    module.start_from(other)
    latent = other.network.encode_latent(torch.randn(1, 6400) * 0.1)
    assert isinstance(other.network, FrameRateNetwork)
    assert isinstance(module.network, FrameRateNetwork)
    assert torch.allclose(module.network.decode_magnitudes(latent), other.network.decode_magnitudes(latent))


def test_network_without_phases_refuses_a_discriminator() -> None:
    with pytest.raises(UserError, match="discriminator"):
        CodecModule({**SIZES, "phases": False}, discriminator_start=0)


def test_labels_of_the_phone_loss_survive_export_and_further_training(tmp_path: Path) -> None:
    module = CodecModule(SIZES, quantize_start=0, phone_loss=1.0)
    assert not isinstance(make_codec("x", module.network), PhoneLabelledCodec)
    module.label_codes()
    save_codec(module.network, SIZES, tmp_path, {})
    assert module.phone_head is not None
    predicted = module.phone_head(codebook_vectors(module.network.quantizer)[0]).argmax(-1)
    exported = codec.load(tmp_path)
    assert isinstance(exported, PhoneLabelledCodec)
    assert torch.equal(exported.phones, predicted)
    continued = CodecModule(SIZES, quantize_start=0)
    continued.start_from(exported)
    assert torch.equal(continued.network.quantizer.get_buffer("phones"), predicted)
