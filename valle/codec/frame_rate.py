"""A codec network that works at the frame rate throughout.

STFT -> ConvNeXt blocks -> residual vector quantizer -> ConvNeXt blocks -> inverse STFT, the layout of Vocos
(arXiv 2306.00814) used on both sides, with phases or without. Every block runs at 50 frames a second, so it is far
cheaper than a network of strided convolutions on the waveform, and nearly all of its work is matrix products.

Nothing in it looks further than a fixed number of frames and every padding is zeros, so an utterance gives the same
result alone, in a padded batch, or cut into chunks that overlap by `context` frames.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.convnext import KERNEL, ConvNeXtBlock
from valle.codec.quantizer import build_quantizer, quantize

COMPRESSION = 0.3  # magnitudes enter as |X| ** 0.3: quiet bins matter to the ear too
GRIFFIN_LIM_STEPS, GRIFFIN_LIM_MOMENTUM = 32, 0.99


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
    """The network of the bundled codecs.

    phases:      False: the encoder does not hear phases and the decoder does not tell them, so the codes hold nothing
                 that neither text nor voice decides; Griffin and Lim's iteration finds phases for the magnitudes
    sample_rate: hertz
    hop:         samples a frame; frame_rate = sample_rate / hop
    subframes:   STFT frames a code frame (their hop is hop / subframes, their window 4 such hops)
    latent_dim:  width of the quantizer's vectors
    """

    window: Tensor
    start_phases: Tensor

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
        phases: bool = True,
    ) -> None:
        super().__init__()
        self.phases = phases
        self.sample_rate, self.hop, self.subframes = sample_rate, hop, subframes
        self.num_codebooks, self.codebook_size = num_codebooks, codebook_size
        self.stft_hop = hop // subframes
        self.n_fft = 4 * self.stft_hop
        bins = self.n_fft // 2 + 1
        self.parts = 3 if phases else 1  # magnitude, real and imaginary part
        values = self.parts * bins * subframes
        self.encoder = Backbone(values, encoder_dim, encoder_hidden, encoder_layers, latent_dim)
        self.quantizer = build_quantizer(latent_dim, num_codebooks, codebook_size, dead_code_threshold)
        self.decoder = Backbone(latent_dim, decoder_dim, decoder_hidden, decoder_layers, values)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        start = torch.Generator().manual_seed(0)
        self.register_buffer("start_phases", 2 * torch.pi * torch.rand(bins, generator=start), persistent=False)
        self.context = (KERNEL // 2) * max(encoder_layers, decoder_layers) + 2
        if not phases:  # each step hears three STFT frames further
            self.context += -(-3 * GRIFFIN_LIM_STEPS // subframes)
            self.context += self.context % 2  # see `_griffin_lim`

    def num_frames(self, num_samples: int) -> int:
        """Frames of a waveform of `num_samples`; the last one may be partly silence."""
        return -(-num_samples // self.hop)

    def _frame_mask(self, frames: Tensor | None, time: int) -> Tensor | None:
        if frames is None:
            return None
        return (torch.arange(time, device=frames.device) < frames[:, None]).unsqueeze(-1).float()

    def _spectrum(self, audio: Tensor) -> Tensor:
        """STFT of audio (batch, time) whose first frame begins at its first sample: (batch, bin, time)."""
        return torch.stft(
            audio, self.n_fft, self.stft_hop, window=self.window, center=False, normalized=True, return_complex=True
        )

    def _margin(self, audio: Tensor) -> Tensor:
        margin = (self.n_fft - self.stft_hop) // 2
        return F.pad(audio, (margin, margin))

    def magnitudes(self, audio: Tensor) -> Tensor:
        """audio (batch, frames * hop) -> what the decoder tells without phases: (batch, bin, subframes)."""
        return self._spectrum(self._margin(audio)).abs()

    def encode_latent(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """audio (batch, frames * hop) -> latent (batch, time, latent_dim), before quantization."""
        spectrum = self._spectrum(self._margin(audio))
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()
        compressed = magnitude**COMPRESSION
        gain = compressed / magnitude
        parts = (compressed, spectrum.real * gain, spectrum.imag * gain) if self.phases else (compressed,)
        features = rearrange(torch.stack(parts), "part b bin (t sub) -> b t (sub part bin)", sub=self.subframes)
        latent = self.encoder(features, self._frame_mask(frames, features.shape[1])).float()
        return F.layer_norm(latent, latent.shape[-1:])  # a fixed scale: the commitment loss cannot shrink it

    def _decoded(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Magnitudes and, with `phases`, real and imaginary parts: (part, batch, bin, subframes). Silence follows."""
        mask = self._frame_mask(frames, latent.shape[1])
        output = self.decoder(latent, mask).float()
        if mask is not None:
            output = output.masked_fill(mask == 0, -torch.inf)  # exp(-inf): silence
        parts = rearrange(output, "b t (sub part bin) -> part b bin (t sub)", sub=self.subframes, part=self.parts)
        return torch.cat((parts[:1].clamp(max=5.0).exp(), parts[1:].nan_to_num(neginf=1.0)))

    def decode_magnitudes(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """latent (batch, time, latent_dim) -> magnitudes (batch, bin, subframes)."""
        return self._decoded(latent, frames)[0]

    def decode_latent(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """latent (batch, time, latent_dim) -> audio (batch, time * hop)."""
        if not self.phases:
            return self._griffin_lim(self.decode_magnitudes(latent, frames))
        magnitude, real, imag = self._decoded(latent, frames)
        scale = magnitude * (real.square() + imag.square() + 1e-6).rsqrt()
        return self._trim(self._overlap_add(torch.complex(real * scale, imag * scale)))

    def _griffin_lim(self, magnitude: Tensor) -> Tensor:
        """Audio whose STFT has nearly these magnitudes (batch, bin, subframes): Griffin and Lim's iteration with
        momentum (Perraudin et al., WASPAA 2013).

        It begins with a noise that recurs every 4 STFT frames, so that a piece that begins at an even code frame gives
        what the whole gives.
        """
        bins, time = magnitude.shape[1:]
        turn = torch.arange(bins, device=magnitude.device)[:, None] * torch.arange(time, device=magnitude.device)
        spectrum = torch.polar(magnitude, self.start_phases[:, None] + torch.pi / 2 * (turn % 4))
        before = torch.zeros_like(spectrum)
        for _ in range(GRIFFIN_LIM_STEPS):
            consistent = self._spectrum(self._overlap_add(spectrum))
            ahead = consistent + GRIFFIN_LIM_MOMENTUM * (consistent - before)
            spectrum = magnitude * ahead / (ahead.abs() + 1e-8)
            before = consistent
        return self._trim(self._overlap_add(spectrum))

    def _trim(self, audio: Tensor) -> Tensor:
        margin = (self.n_fft - self.stft_hop) // 2
        return audio[:, margin:-margin]

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """Inverse STFT with a constant envelope (1.5 for four-fold overlapping squared Hann windows)."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1, norm="ortho") * self.window[:, None] / 1.5
        length = self.n_fft + (frames.shape[2] - 1) * self.stft_hop
        return F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.stft_hop))[:, 0, 0]

    def encode(self, audio: Tensor, frames: Tensor | None = None, phones: Tensor | None = None) -> Tensor:
        """audio (batch, frames * hop) -> codes (batch, time, codebook) int64; `frames` gives the true lengths.

        phones: see `valle.codec.quantizer.quantize`
        """
        return quantize(self.quantizer, self.encode_latent(audio, frames), phones)

    def decode(self, codes: Tensor, frames: Tensor | None = None) -> Tensor:
        """codes (batch, time, codebook) -> audio (batch, time * hop)."""
        latent = self.quantizer.vq.decode(rearrange(codes, "b t q -> q b t"))
        return self.decode_latent(latent.transpose(1, 2), frames)
