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
from valle.codec.trained import TrainedCodec
from valle.errors import UserError
from valle.training.codec import CodecModule
from valle.training.codec_losses import MagnitudeLoss


@pytest.fixture(scope="module", params=["mini", "small"])
def bundled(request: pytest.FixtureRequest) -> base.Codec:
    return codec.load(request.param)


def test_speech_survives_the_bundled_codec(bundled: base.Codec, speech: Path) -> None:
    sound = audio.read(speech)
    codes = bundled.encode(sound.samples, sound.sample_rate)
    assert codes.dtype == torch.int64
    assert codes.shape == (-(-len(sound.samples) // 320), 8)
    decoded = bundled.decode(codes)[: len(sound.samples)]
    if bundled.name == "mini":  # a codec with phases keeps the whole spectrum of the utterance too
        quiet = np.abs(np.fft.rfft(sound.samples)) ** 0.3, np.abs(np.fft.rfft(decoded)) ** 0.3
        assert np.corrcoef(*quiet)[0, 1] > 0.8
    assert likeness(sound.samples, decoded) > 0.85
    assert bundled.frame_rate == 50


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of magnitudes in windows of 40 ms: what is heard, not how phases fell."""
    magnitudes = FrameRateCodec(phases=False).magnitudes
    heard = [magnitudes(torch.from_numpy(x)[None]).flatten().numpy() ** 0.3 for x in (one, other)]
    return float(np.corrcoef(*heard)[0, 1])


def test_every_codebook_brings_the_bundled_codec_nearer_to_the_recording(bundled: base.Codec, speech: Path) -> None:
    samples = audio.read(speech).samples
    codes = bundled.encode(samples, 16_000)
    found = [likeness(samples, bundled.decode(codes[:, :n])[: len(samples)]) for n in (1, 2, 4, 8)]
    assert found == sorted(found)
    assert 1 - found[-1] < 0.7 * (1 - found[0]), "all of them leave much less out than the first alone"


def test_a_batch_gives_what_each_gives_alone(bundled: base.Codec, speech: Path) -> None:
    sound = audio.read(speech).samples
    items = [sound, sound[4000:20_000], sound[:1]]
    together = bundled.encode_batch(items, 16_000)
    for item, codes in zip(items, together, strict=True):
        assert torch.equal(codes, bundled.encode(item, 16_000))
    for codes, waveform in zip(together, bundled.decode_batch(together), strict=True):
        np.testing.assert_allclose(waveform, bundled.decode(codes), atol=1e-4)


def test_a_long_file_is_coded_in_pieces_with_the_same_codes(
    bundled: base.Codec, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound = np.tile(audio.read(speech).samples, 3)
    codes = bundled.encode(sound, 16_000)
    waveform = bundled.decode(codes)
    monkeypatch.setattr(base, "CHUNK_FRAMES", 100)
    assert torch.equal(bundled.encode(sound, 16_000), codes)
    np.testing.assert_allclose(bundled.decode(codes), waveform, atol=1e-4)


def test_other_rates_are_resampled(bundled: base.Codec) -> None:
    assert len(bundled.encode(noise(1.0, 24_000), 24_000)) == 50


def test_codes_out_of_range_are_refused(bundled: base.Codec) -> None:
    for codes in (torch.zeros(5, 9, dtype=torch.long), torch.full((5, 8), 1024), torch.zeros(0, 8, dtype=torch.long)):
        with pytest.raises(ValueError, match="codes"):
            bundled.decode(codes)


def test_missing_weights_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--codec-dir"):
        codec.load("encodec_24khz", tmp_path)
    with pytest.raises(UserError, match="not known"):
        codec.load("nonsense")
    (tmp_path / "codec.json").write_text("{}")
    with pytest.raises(UserError, match="missing"):
        codec.load(tmp_path)


def test_small_hears_no_phases_and_finds_some_that_fit(speech: Path) -> None:
    small, sound = codec.load("small"), audio.read(speech).samples
    codes = small.encode(sound, 16_000)
    assert torch.equal(small.encode(-sound, 16_000), codes)
    network = FrameRateCodec(phases=False)
    whole = torch.from_numpy(sound[: len(sound) // 320 * 320])[None]
    wanted = network.magnitudes(whole)
    found = network.magnitudes(network._griffin_lim(wanted))
    assert (found - wanted).norm() < 0.1 * wanted.norm()


def test_a_codec_without_phases_starts_from_one_with_them() -> None:
    sizes = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16}
    other = TrainedCodec("other", build_network(sizes))
    module = CodecModule({**sizes, "phases": False}, quantize_start=0)
    module.start_from(other)
    audio = torch.randn(1, 6400) * 0.1
    latent = other.network.encode_latent(audio)
    assert isinstance(other.network, FrameRateCodec)
    assert isinstance(module.network, FrameRateCodec)
    assert torch.allclose(module.network.decode_magnitudes(latent), other.network.decode_magnitudes(latent))
    with pytest.raises(UserError, match="discriminator"):
        CodecModule({**sizes, "phases": False}, discriminator_start=0)


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


def test_quantizer_dropout_decodes_from_early_codebooks() -> None:
    sizes = {"kind": "frame_rate", "encoder_dim": 16, "decoder_dim": 16, "codebook_size": 8, "latent_dim": 4}
    torch.manual_seed(0)
    module = CodecModule(sizes, quantize_start=0, quantizer_dropout=1.0)
    assert {module._codebooks_used() for _ in range(64)} == {1, 2, 4}
    assert CodecModule(sizes, quantizer_dropout=0.0)._codebooks_used() == 8
    audio, phones = torch.randn(2, 6400) * 0.1, torch.zeros(2, 20, dtype=torch.long)
    for layer in module.network.quantizer.vq.layers:
        layer._codebook.inited.fill_(1)
        layer._codebook.embed.normal_()
    four, eight = (module.eval()._reconstruct(audio, phones, used)[0] for used in (4, 8))
    for layer in module.network.quantizer.vq.layers[4:]:
        layer._codebook.embed.normal_()
    assert torch.equal(module._reconstruct(audio, phones, 4)[0], four)
    assert not torch.equal(module._reconstruct(audio, phones, 8)[0], eight)


def test_an_envelope_is_the_same_whatever_the_pitch() -> None:
    loss = MagnitudeLoss(16_000, 640)
    bins = torch.arange(321) * 25.0  # hertz
    formants = sum((-(((bins - f) / 300) ** 2)).exp() for f in (500, 1500, 2500)) + 0.05

    def spoken(pitch: float, envelope: torch.Tensor) -> torch.Tensor:
        harmonics = 1 + 0.9 * (2 * torch.pi * bins / pitch).cos()
        return ((envelope * harmonics) ** (1 / 0.3))[None, :, None]

    low, high = spoken(70, formants), spoken(90, formants)  # hertz; faster than the envelope may vary
    other = spoken(70, formants.roll(20))
    of_pitch, of_formants = loss(low, high, envelope=True), loss(low, other, envelope=True)
    assert of_pitch["envelope"] < 0.05 * of_formants["envelope"]
    assert of_pitch["magnitude"] > 0.5 * of_formants["magnitude"]
    assert "envelope" not in loss(low, high)


def test_the_envelope_counts_where_the_first_codebook_speaks_alone() -> None:
    sizes = {"kind": "frame_rate", "phases": False, "encoder_dim": 16, "decoder_dim": 16, "latent_dim": 4}
    audio = torch.randn(1, 3200) * 0.1
    for weight, used, names in ((3.0, 1, {"mel", "magnitude", "envelope"}), (3.0, 2, {"mel", "magnitude"})):
        module = CodecModule(sizes, loss_weights={"envelope": weight})
        assert set(module._losses(module.network.magnitudes(audio), audio, used)) == names
    assert "envelope" not in CodecModule(sizes)._losses(module.network.magnitudes(audio), audio, 1)
    with pytest.raises(UserError, match="without phases"):
        CodecModule(sizes | {"phases": True}, loss_weights={"envelope": 3.0})


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
