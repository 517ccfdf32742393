"""Codec networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from valle import audio, codec
from valle.codec.frame_rate import FrameRateConfig, FrameRateNetwork
from valle.codec.networks import build_network

SMALL_SIZES = {
    "frame_rate": {"encoder_dim": 16, "decoder_dim": 16},
    "seanet": {"filters": 4},
}


@pytest.mark.parametrize("kind", sorted(SMALL_SIZES))
def test_every_trained_weight_gets_a_gradient(kind: str) -> None:
    network = build_network({"kind": kind, **SMALL_SIZES[kind]})
    network.train()
    latent = network.encode_latent(torch.randn(2, 6400) * 0.1)
    quantized, _, commitment = network.quantizer.vq(latent.transpose(1, 2))
    (network.decode_latent(quantized.transpose(1, 2)).square().mean() + commitment.mean()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters() if p.requires_grad)


@pytest.mark.parametrize("kind", sorted(SMALL_SIZES))
def test_rows_of_a_padded_batch_give_the_codes_of_single_rows(kind: str) -> None:
    torch.manual_seed(0)
    network = build_network({"kind": kind, **SMALL_SIZES[kind]}).eval()
    for name, buffer in network.quantizer.named_buffers():
        if name.endswith("inited"):
            buffer.fill_(1)
        elif name.endswith("embed"):
            buffer.normal_()
    waveforms = torch.randn(2, 20 * 320) * 0.1
    waveforms[1, 12 * 320 :] = 0
    with torch.inference_mode():
        batch = network.encode(waveforms, torch.tensor([20, 12]))
        assert torch.equal(batch[0], network.encode(waveforms[:1])[0])
        assert torch.equal(batch[1, :12], network.encode(waveforms[1:, : 12 * 320])[0])
        decoded = network.decode(batch, torch.tensor([20, 12]))
        single = network.decode(batch[1:, :12])
        torch.testing.assert_close(decoded[1, : 12 * 320], single[0], atol=1e-4, rtol=0)


def test_unknown_kinds_and_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="frame_rate, seanet"):
        build_network({"kind": "nonsense"})
    with pytest.raises(TypeError, match="colour"):
        build_network({"kind": "frame_rate", "colour": 1})


def test_codes_of_small_do_not_depend_on_phases(speech: Path) -> None:
    small = codec.load("small")
    samples = audio.read(speech).samples
    assert torch.equal(small.encode(-samples, 16_000), small.encode(samples, 16_000))


def test_inverted_magnitudes_are_nearly_those_of_the_recording(speech: Path) -> None:
    samples = audio.read(speech).samples
    network = FrameRateNetwork(FrameRateConfig(phases=False))
    target = network.magnitudes(torch.from_numpy(samples[: len(samples) // 320 * 320])[None])
    inverted = network.magnitudes(network.invert_magnitudes(target))
    assert (inverted - target).norm() < 0.1 * target.norm()
