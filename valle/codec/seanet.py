"""A codec network of strided convolutions on the waveform: the SEANet of the `encodec` package, mono, any rate."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.encodec_package import SEANetDecoder, SEANetEncoder
from valle.codec.quantizer import build_quantizer, quantize


class SEANetCodec(nn.Module):
    """SEANet encoder and decoder around a residual vector quantizer (arXiv 2210.13438), without the LSTM.

    sample_rate: hertz
    ratios:      strides of the decoder from the code frame outwards; their product is the hop
    filters:     channels of the outermost convolution
    """

    def __init__(
        self,
        sample_rate: int = 16_000,
        ratios: tuple[int, ...] = (8, 5, 4, 2),
        filters: int = 32,
        latent_dim: int = 128,
        num_codebooks: int = 8,
        codebook_size: int = 1024,
        dead_code_threshold: float = 0.25,
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop = sample_rate, math.prod(ratios)
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        sizes: dict[str, Any] = {"dimension": latent_dim, "n_filters": filters, "ratios": list(ratios), "lstm": 0}
        self.encoder = SEANetEncoder(**sizes)
        self.quantizer = build_quantizer(latent_dim, num_codebooks, codebook_size, dead_code_threshold)
        self.decoder = SEANetDecoder(**sizes)
        self.context = 16

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform of `num_samples`; the last one may be partly silence."""
        return -(-num_samples // self.hop)

    def encode_latent(self, audio: Tensor) -> Tensor:
        """audio (batch, frames * hop) -> latent (batch, time, latent_dim)."""
        latent = self.encoder(audio[:, None]).transpose(1, 2).float()
        return F.layer_norm(latent, latent.shape[-1:])

    def decode_latent(self, latent: Tensor) -> Tensor:
        """latent (batch, time, latent_dim) -> audio (batch, time * hop)."""
        return self.decoder(latent.transpose(1, 2))[:, 0].float()

    def encode(self, audio: Tensor, frames: Tensor | None = None, phones: Tensor | None = None) -> Tensor:
        """audio (batch, frames * hop) -> codes (batch, time, codebook) int64; `frames` gives the true lengths.

        phones: see `valle.codec.quantizer.quantize`
        The package pads by reflection at the ends, so rows of different lengths go through one by one.
        """
        if frames is not None and len(set(frames.tolist())) > 1:
            rows = [
                self.encode(
                    row[None, : length * self.hop], phones=None if phones is None else phones[i, None, :length]
                )[0]
                for i, (row, length) in enumerate(zip(audio, frames.tolist(), strict=True))
            ]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return quantize(self.quantizer, self.encode_latent(audio), phones)

    def decode(self, codes: Tensor, frames: Tensor | None = None) -> Tensor:
        """codes (batch, time, codebook) -> audio (batch, time * hop)."""
        if frames is not None and len(set(frames.tolist())) > 1:
            rows = [self.decode(row[None, :length])[0] for row, length in zip(codes, frames.tolist(), strict=True)]
            return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        latent = self.quantizer.vq.decode(rearrange(codes, "b t q -> q b t"))
        return self.decode_latent(latent.transpose(1, 2))
