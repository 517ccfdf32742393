"""A codec network that works at the frame rate throughout.

STFT -> ConvNeXt blocks -> residual vector quantizer -> ConvNeXt blocks -> inverse STFT, the layout of Vocos
(arXiv 2306.00814) used on both sides. Every block runs at 50 frames a second, so it is far cheaper than a network
of strided convolutions on the waveform, and nearly all of its work is matrix products.

Nothing in it looks further than a fixed number of frames and every padding is zeros, so an utterance gives the same
result alone, in a padded batch, or cut into chunks that overlap by `context` frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.quantizer import build_quantizer

KERNEL = 7
COMPRESSION = 0.3  # magnitudes enter as |X| ** 0.3: quiet bins matter to the ear too


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution over time, then a two-layer network a frame (arXiv 2201.03545), residual."""

    def __init__(self, dim: int, hidden: int, scale: float) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, KERNEL, padding=KERNEL // 2, groups=dim)
        self.norm = nn.LayerNorm(dim)
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x: (batch, time, dim), mask: (batch, time, 1) or None; returns x's shape."""
        h = x if mask is None else x * mask
        h = self.depthwise(h.transpose(1, 2)).transpose(1, 2)
        return x + self.scale * self.contract(F.gelu(self.expand(self.norm(h))))


class Backbone(nn.Module):
    """Linear -> ConvNeXt blocks -> linear, all at the frame rate: (batch, time, inputs) -> (batch, time, outputs)."""

    def __init__(self, inputs: int, dim: int, hidden: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, dim)
        self.norm_in = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, hidden, 1 / layers) for _ in range(layers))
        self.norm_out = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        x = self.norm_in(self.embed(x))
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm_out(x))


class FrameRateCodec(nn.Module):
    """The network of the bundled codec `mini`.

    sample_rate: hertz
    hop:         samples a frame; frame_rate = sample_rate / hop
    subframes:   STFT frames a code frame (their hop is hop / subframes, their window 4 such hops)
    latent_dim:  width of the quantizer's vectors
    """

    window: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        hop: int = 320,
        subframes: int = 2,
        latent_dim: int = 64,
        num_codebooks: int = 8,
        codebook_size: int = 1024,
        encoder_dim: int = 256,
        encoder_hidden: int = 768,
        encoder_layers: int = 4,
        decoder_dim: int = 384,
        decoder_hidden: int = 1024,
        decoder_layers: int = 5,
        dead_code_threshold: float = 0.25,
    ) -> None:
        super().__init__()
        self.sample_rate, self.hop, self.subframes = sample_rate, hop, subframes
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        self.stft_hop = hop // subframes
        self.n_fft = 4 * self.stft_hop
        bins = self.n_fft // 2 + 1
        self.encoder = Backbone(3 * bins * subframes, encoder_dim, encoder_hidden, encoder_layers, latent_dim)
        self.quantizer = build_quantizer(latent_dim, num_codebooks, codebook_size, dead_code_threshold)
        self.decoder = Backbone(latent_dim, decoder_dim, decoder_hidden, decoder_layers, 3 * bins * subframes)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        self.context = (KERNEL // 2) * max(encoder_layers, decoder_layers) + 2

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform of `num_samples`; the last one may be partly silence."""
        return -(-num_samples // self.hop)

    def _frame_mask(self, frames: Tensor | None, time: int) -> Tensor | None:
        if frames is None:
            return None
        return (torch.arange(time, device=frames.device) < frames[:, None]).unsqueeze(-1).float()

    def encode_latent(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """audio (batch, frames * hop) -> latent (batch, time, latent_dim), before quantization."""
        margin = (self.n_fft - self.stft_hop) // 2
        spectrum = torch.stft(
            F.pad(audio, (margin, margin)),
            self.n_fft,
            self.stft_hop,
            window=self.window,
            center=False,
            normalized=True,
            return_complex=True,
        )
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()
        compressed = magnitude**COMPRESSION
        gain = compressed / magnitude
        features = torch.stack((compressed, spectrum.real * gain, spectrum.imag * gain))
        features = rearrange(features, "part b bin (t sub) -> b t (sub part bin)", sub=self.subframes)
        latent = self.encoder(features, self._frame_mask(frames, features.shape[1])).float()
        return F.layer_norm(latent, latent.shape[-1:])  # a fixed scale: the commitment loss cannot shrink it

    def decode_latent(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """latent (batch, time, latent_dim) -> audio (batch, time * hop)."""
        mask = self._frame_mask(frames, latent.shape[1])
        output = self.decoder(latent, mask).float()
        if mask is not None:
            output = output.masked_fill(mask == 0, -torch.inf)  # exp(-inf): silence after the end
        log_magnitude, real, imag = rearrange(
            output, "b t (sub part bin) -> part b bin (t sub)", sub=self.subframes, part=3
        )
        if mask is not None:
            real, imag = real.nan_to_num(neginf=1.0), imag.nan_to_num(neginf=1.0)
        magnitude = log_magnitude.clamp(max=5.0).exp()
        scale = magnitude * (real.square() + imag.square() + 1e-6).rsqrt()
        return self._overlap_add(torch.complex(real * scale, imag * scale))

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """Inverse STFT with a constant envelope (1.5 for four-fold overlapping squared Hann windows)."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1, norm="ortho") * self.window[:, None] / 1.5
        length = self.n_fft + (frames.shape[2] - 1) * self.stft_hop
        audio = F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.stft_hop))[:, 0, 0]
        margin = (self.n_fft - self.stft_hop) // 2
        return audio[:, margin:-margin]

    def encode(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """audio (batch, frames * hop) -> codes (batch, time, codebook) int64; `frames` gives the true lengths."""
        latent = self.encode_latent(audio, frames)
        return rearrange(self.quantizer.vq.encode(latent.transpose(1, 2)), "q b t -> b t q")

    def decode(self, codes: Tensor, frames: Tensor | None = None) -> Tensor:
        """codes (batch, time, codebook) -> audio (batch, time * hop)."""
        latent = self.quantizer.vq.decode(rearrange(codes, "b t q -> q b t"))
        return self.decode_latent(latent.transpose(1, 2), frames)
