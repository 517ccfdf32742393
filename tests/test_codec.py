"""The codec interface and the bundled codec."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import noise
from valle import audio, codec
from valle.codec import base, encodec, vocos
from valle.codec.encodec_package import EncodecModel, torchaudio_stand_in
from valle.codec.frame_rate import FrameRateCodec
from valle.codec.networks import build_network
from valle.errors import UserError
from valle.training.codec import CodecModule


@pytest.fixture(scope="module")
def mini() -> base.Codec:
    return codec.load("mini")


def test_speech_survives_the_bundled_codec(mini: base.Codec, speech: Path) -> None:
    sound = audio.read(speech)
    codes = mini.encode(sound.samples, sound.sample_rate)
    assert codes.dtype == torch.int64
    assert codes.shape == (-(-len(sound.samples) // 320), 8)
    decoded = mini.decode(codes)[: len(sound.samples)]
    quiet = np.abs(np.fft.rfft(sound.samples)) ** 0.3, np.abs(np.fft.rfft(decoded)) ** 0.3
    assert np.corrcoef(*quiet)[0, 1] > 0.8
    assert mini.frame_rate == 50


def test_a_batch_gives_what_each_gives_alone(mini: base.Codec, speech: Path) -> None:
    sound = audio.read(speech).samples
    items = [sound, sound[4000:20_000], sound[:1]]
    together = mini.encode_batch(items, 16_000)
    for item, codes in zip(items, together, strict=True):
        assert torch.equal(codes, mini.encode(item, 16_000))
    for codes, waveform in zip(together, mini.decode_batch(together), strict=True):
        np.testing.assert_allclose(waveform, mini.decode(codes), atol=1e-4)


def test_a_long_file_is_coded_in_pieces_with_the_same_codes(
    mini: base.Codec, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.tile(audio.read(speech).samples, 3)
    codes = mini.encode(sound, 16_000)
    waveform = mini.decode(codes)
    monkeypatch.setattr(base, "CHUNK_FRAMES", 100)
    assert torch.equal(mini.encode(sound, 16_000), codes)
    np.testing.assert_allclose(mini.decode(codes), waveform, atol=1e-4)


def test_other_rates_are_resampled(mini: base.Codec) -> None:
    assert len(mini.encode(noise(1.0, 24_000), 24_000)) == 50


def test_codes_out_of_range_are_refused(mini: base.Codec) -> None:
    for codes in (torch.zeros(5, 9, dtype=torch.long), torch.full((5, 8), 1024), torch.zeros(0, 8, dtype=torch.long)):
        with pytest.raises(ValueError, match="codes"):
            mini.decode(codes)


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--codec-dir"):
        codec.load("encodec_24khz", tmp_path)
    with pytest.raises(UserError, match="not known"):
        codec.load("nonsense")
    (tmp_path / "codec.json").write_text("{}")
    with pytest.raises(UserError, match="missing"):
        codec.load(tmp_path)


@pytest.mark.parametrize("kind", ["frame_rate", "seanet"])
def test_both_networks_give_gradients_to_every_trained_weight(kind: str) -> None:
    sizes = {"filters": 4} if kind == "seanet" else {"encoder_dim": 16, "decoder_dim": 16}
    try:
        network = build_network({"kind": kind, **sizes})
    except TypeError:
        network = build_network({"kind": kind})
    network.train()
    latent = network.encode_latent(torch.randn(2, 6400) * 0.1)
    quantized, _, commitment = network.quantizer.vq(latent.transpose(1, 2))
    (network.decode_latent(quantized.transpose(1, 2)).square().mean() + commitment.mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


def test_a_dead_code_comes_back_to_life() -> None:
    network = FrameRateCodec(encoder_dim=16, decoder_dim=16, codebook_size=8, latent_dim=4, dead_code_threshold=0.5)
    book = network.quantizer.train().vq.layers[0]._codebook
    vectors = torch.randn(1, 200, 4, generator=torch.Generator().manual_seed(0))
    book(vectors)
    book.cluster_size[3], book.embed[3] = 0.0, torch.full((4,), 1e3)
    book(vectors)
    assert book.embed[3].abs().max() < 10


def test_quantizer_dropout_decodes_from_early_codebooks_in_training_alone() -> None:
    sizes = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16, "codebook_size": 8, "latent_dim": 4}
    module = CodecModule(sizes, quantize_start=0, train_encoder=False, quantizer_dropout=1.0)
    audio, phones = torch.randn(2, 6400) * 0.1, torch.zeros(2, 20, dtype=torch.long)
    for layer in module.network.quantizer.vq.layers:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_()
    full = [module.eval()._reconstruct(audio, phones)[0]]
    early = [module.train()._reconstruct(audio, phones)[0] for _ in range(8)]
    for layer in module.network.quantizer.vq.layers[4:]:
        layer._codebook.embed.normal_()
    full.append(module.eval()._reconstruct(audio, phones)[0])
    torch.manual_seed(0)
    early += [module.train()._reconstruct(audio, phones)[0] for _ in range(8)]
    assert not torch.equal(*full)
    assert 1 < len({tuple(output[0, :100].tolist()) for output in early}) <= 3  # of 1, 2 or 4 codebooks, never of 8


def fake_weights(folder: Path) -> dict[str, torch.Tensor]:
    """EnCodec's and Vocos's files with random weights; returns Vocos's."""
    torch.manual_seed(0)
    folder.mkdir(exist_ok=True)
    torch.save(EncodecModel.encodec_model_24khz(pretrained=False).state_dict(), folder / encodec.WEIGHTS)
    with torchaudio_stand_in():
        from vocos.heads import ISTFTHead
        from vocos.models import VocosBackbone
    backbone = VocosBackbone(128, 384, 1152, 8, adanorm_num_embeddings=4)
    state = {f"backbone.{name}": value for name, value in backbone.state_dict().items()}
    state |= {f"head.{name}": value for name, value in ISTFTHead(384, 1280, 320, "same").state_dict().items()}
    state["feature_extractor.codebook_weights"] = torch.randn(16 * 1024, 128)
    torch.save(state, folder / vocos.WEIGHTS)
    return state


def test_vocos_speaks_encodecs_codes_as_its_own_parts_do(tmp_path: Path) -> None:
    weights = fake_weights(tmp_path)
    plain, spoken = (codec.load("encodec_24khz", tmp_path, decoder) for decoder in (None, "vocos"))
    codes = torch.randint(1024, (30, 8))
    assert plain.decode(codes).shape == spoken.decode(codes).shape == (30 * 320,)
    latent = sum(weights["feature_extractor.codebook_weights"][1024 * j + codes[:, j]] for j in range(8))
    decoder = spoken.decoder
    with torch.inference_mode():
        expected = decoder.head(decoder.backbone(latent.T[None], bandwidth_id=torch.tensor([2])))[0]
    np.testing.assert_allclose(spoken.decode(codes), expected.numpy(), atol=1e-5)
    assert not np.allclose(plain.decode(codes), spoken.decode(codes), atol=1e-3)


def test_vocos_without_weights_or_for_another_codec_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="leave --decoder out"):
        codec.load("encodec_24khz", tmp_path, "vocos")
    (tmp_path / vocos.WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(UserError, match="not Vocos's weights"):
        codec.load("encodec_24khz", tmp_path, "vocos")
    with pytest.raises(UserError, match="encodec_24khz"):
        codec.load("mini", decoder="vocos")
