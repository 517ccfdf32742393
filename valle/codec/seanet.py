"""A codec network of strided convolutions on the waveform: the SEANet of the `encodec` package, mono, any rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor

from valle.codec.encodec_package import SEANetDecoder, SEANetEncoder
from valle.codec.network import CodecNetwork
from valle.codec.quantizer import build_quantizer
from valle.codec.reconstruction_loss import ReconstructionLoss, WaveformLoss


@dataclass(frozen=True)
class SEANetConfig:
    """Sizes of a SEANet codec.

    Attributes:
        sample_rate: Sample rate in hertz.
        ratios: Strides of the decoder from the frame outwards; their product is the hop in samples.
        filters: Channels of the outermost convolution.
        latent_dim: Width of the quantizer's vectors.
        num_codebooks: Number of codebooks.
        codebook_size: Entries per codebook.
        dead_code_threshold: See `valle.codec.quantizer.build_quantizer`.
    """

    sample_rate: int = 16_000
    ratios: Sequence[int] = (8, 5, 4, 2)
    filters: int = 32
    latent_dim: int = 128
    num_codebooks: int = 8
    codebook_size: int = 1024
    dead_code_threshold: float = 0.25


class SEANetNetwork(CodecNetwork):
    """SEANet encoder and decoder around a residual vector quantizer (arXiv 2210.13438), without the LSTM.

    Args:
        config: Sizes.
    """

    context = 16

    def __init__(self, config: SEANetConfig | None = None) -> None:
        super().__init__()
        config = config or SEANetConfig()
        self.sample_rate = config.sample_rate
        self.hop = math.prod(config.ratios)
        self.num_codebooks = config.num_codebooks
        self.codebook_size = config.codebook_size
        # Without the LSTM a frame depends on a bounded number of others.
        sizes: dict[str, Any] = {
            "dimension": config.latent_dim,
            "n_filters": config.filters,
            "ratios": list(config.ratios),
            "lstm": 0,
        }
        self.encoder = SEANetEncoder(**sizes)
        self.quantizer = build_quantizer(
            config.latent_dim, config.num_codebooks, config.codebook_size, config.dead_code_threshold
        )
        self.decoder = SEANetDecoder(**sizes)

    def encode_latent(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode audio (batch, time * hop) before quantization: (batch, time, latent_dim)."""
        # The package pads by reflection at the ends, so rows of different lengths are encoded one by one.
        if _differ(frames):
            rows = [
                self.encode_latent(row[None, : length * self.hop])[0]
                for row, length in zip(audio, frames.tolist(), strict=True)
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        # With a fixed scale the commitment loss cannot shrink the latent vectors.
        latent = self.encoder(audio[:, None]).transpose(1, 2).float()
        return F.layer_norm(latent, latent.shape[-1:])

    def decode_latent(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to audio (batch, time * hop)."""
        if _differ(frames):
            rows = [
                self.decode_latent(row[None, :length])[0] for row, length in zip(latent, frames.tolist(), strict=True)
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return self.decoder(latent.transpose(1, 2))[:, 0].float()

    def build_loss(self, envelope: bool = False) -> ReconstructionLoss:
        """Build the loss of waveforms."""
        return WaveformLoss(self.sample_rate)


def _differ(frames: Tensor | None) -> TypeGuard[Tensor]:
    """Whether the rows of a batch have different lengths."""
    return frames is not None and len(set(frames.tolist())) > 1
