"""A codec network that works at the frame rate throughout.

STFT, ConvNeXt blocks, residual vector quantizer, ConvNeXt blocks, inverse STFT: the layout of Vocos (arXiv 2306.00814)
used on both sides, with phases or without. Every block runs at 50 frames per second, so it is far cheaper than a
network of strided convolutions on the waveform, and nearly all of its work is matrix products.

Every receptive field is a fixed number of frames and every padding is zeros, so an utterance gives the same result
alone, in a padded batch, or cut into chunks that overlap by `context` frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from valle.codec.convnext import KERNEL, ConvNeXtBlock
from valle.codec.network import CodecNetwork
from valle.codec.quantizer import build_quantizer
from valle.codec.reconstruction_loss import MagnitudeLoss, ReconstructionLoss, WaveformLoss

# Magnitudes enter the encoder as |X| ** 0.3, because quiet bins are audible too.
COMPRESSION = 0.3
GRIFFIN_LIM_STEPS = 32
GRIFFIN_LIM_MOMENTUM = 0.99
# The initial phases of Griffin and Lim's iteration recur after so many STFT frames.
GRIFFIN_LIM_PERIOD = 4


@dataclass(frozen=True)
class FrameRateConfig:
    """Sizes of a frame-rate codec.

    Attributes:
        sample_rate: Sample rate in hertz.
        hop: Samples per frame.
        subframes: STFT frames per code frame. Their hop is hop / subframes, their window four such hops.
        latent_dim: Width of the quantizer's vectors.
        num_codebooks: Number of codebooks.
        codebook_size: Entries per codebook.
        encoder_dim: Width of the encoder.
        encoder_hidden: Width of the encoder's feed-forward layers.
        encoder_layers: Blocks of the encoder.
        decoder_dim: Width of the decoder.
        decoder_hidden: Width of the decoder's feed-forward layers.
        decoder_layers: Blocks of the decoder.
        dead_code_threshold: See `valle.codec.quantizer.build_quantizer`.
        phases: False: the encoder reads and the decoder predicts magnitudes alone, so that codes hold nothing that
            neither text nor voice determines. Griffin and Lim's iteration finds phases that fit the magnitudes.
    """

    sample_rate: int = 16_000
    hop: int = 320
    subframes: int = 2
    latent_dim: int = 64
    num_codebooks: int = 8
    codebook_size: int = 1024
    encoder_dim: int = 256
    encoder_hidden: int = 768
    encoder_layers: int = 4
    decoder_dim: int = 384
    decoder_hidden: int = 1024
    decoder_layers: int = 5
    dead_code_threshold: float = 0.25
    phases: bool = True


class Backbone(nn.Module):
    """A linear layer, ConvNeXt blocks and a linear layer: (batch, time, inputs) -> (batch, time, outputs)."""

    def __init__(self, inputs: int, dim: int, hidden: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, dim)
        self.norm_in = nn.LayerNorm(dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, hidden, 1 / layers) for _ in range(layers))
        self.norm_out = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Transform x (batch, time, inputs); mask (batch, time, 1) is 1 inside of each row, None for whole rows."""
        x = self.norm_in(self.embed(x))
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm_out(x))


class FrameRateNetwork(CodecNetwork):
    """The network of the bundled codecs.

    Args:
        config: Sizes.
    """

    window: Tensor
    start_phases: Tensor

    def __init__(self, config: FrameRateConfig | None = None) -> None:
        super().__init__()
        config = config or FrameRateConfig()
        self.sample_rate = config.sample_rate
        self.hop = config.hop
        self.subframes = config.subframes
        self.num_codebooks = config.num_codebooks
        self.codebook_size = config.codebook_size
        self.phases = config.phases
        self.stft_hop = config.hop // config.subframes
        self.n_fft = 4 * self.stft_hop
        bins = self.n_fft // 2 + 1
        # Magnitude, real part and imaginary part, or the magnitude alone.
        self.parts = 3 if config.phases else 1
        values = self.parts * bins * config.subframes
        self.encoder = Backbone(
            inputs=values,
            dim=config.encoder_dim,
            hidden=config.encoder_hidden,
            layers=config.encoder_layers,
            outputs=config.latent_dim,
        )
        self.quantizer = build_quantizer(
            config.latent_dim, config.num_codebooks, config.codebook_size, config.dead_code_threshold
        )
        self.decoder = Backbone(
            inputs=config.latent_dim,
            dim=config.decoder_dim,
            hidden=config.decoder_hidden,
            layers=config.decoder_layers,
            outputs=values,
        )
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("start_phases", 2 * torch.pi * torch.rand(bins, generator=generator), persistent=False)
        self.context = (KERNEL // 2) * max(config.encoder_layers, config.decoder_layers) + 2
        if not config.phases:
            # Each step reaches three STFT frames further.
            self.context += -(-3 * GRIFFIN_LIM_STEPS // config.subframes)
            # A chunk gives what the whole gives if the initial phases of its frames are the same, see `_griffin_lim`.
            self.chunk_multiple = GRIFFIN_LIM_PERIOD // math.gcd(GRIFFIN_LIM_PERIOD, config.subframes)

    def magnitudes(self, audio: Tensor) -> Tensor:
        """Return the STFT magnitudes of audio (batch, time * hop): (batch, bin, time * subframes)."""
        return self._spectrum(self._pad(audio)).abs()

    def encode_latent(self, audio: Tensor, frames: Tensor | None = None) -> Tensor:
        """Encode audio (batch, time * hop) before quantization: (batch, time, latent_dim)."""
        spectrum = self._spectrum(self._pad(audio))
        magnitude = (spectrum.real.square() + spectrum.imag.square() + 1e-7).sqrt()
        compressed = magnitude**COMPRESSION
        gain = compressed / magnitude
        parts = (compressed, spectrum.real * gain, spectrum.imag * gain) if self.phases else (compressed,)
        features = rearrange(torch.stack(parts), "part b bin (t sub) -> b t (sub part bin)", sub=self.subframes)
        latent = self.encoder(features, _frame_mask(frames, features.shape[1])).float()
        # With a fixed scale the commitment loss cannot shrink the latent vectors.
        return F.layer_norm(latent, latent.shape[-1:])

    def decode_magnitudes(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to magnitudes (batch, bin, time * subframes)."""
        return self._decode_parts(latent, frames)[0]

    def decode_latent(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to audio (batch, time * hop)."""
        if not self.phases:
            return self.invert_magnitudes(self.decode_magnitudes(latent, frames))
        magnitude, real, imag = self._decode_parts(latent, frames)
        scale = magnitude * (real.square() + imag.square() + 1e-6).rsqrt()
        return self._trim(self._overlap_add(torch.complex(real * scale, imag * scale)))

    def invert_magnitudes(self, magnitude: Tensor) -> Tensor:
        """Find audio whose STFT has nearly the given magnitudes, by Griffin and Lim's iteration with momentum.

        See Perraudin et al., "A fast Griffin-Lim algorithm", WASPAA 2013. The iteration begins with noise that recurs
        every four STFT frames, so that a chunk that begins at a multiple of `chunk_multiple` frames gives what the
        whole gives.

        Args:
            magnitude: (batch, bin, time * subframes).

        Returns:
            (batch, time * hop) samples.
        """
        bins, time = magnitude.shape[1:]
        turn = torch.arange(bins, device=magnitude.device)[:, None] * torch.arange(time, device=magnitude.device)
        phases = self.start_phases[:, None] + 2 * torch.pi / GRIFFIN_LIM_PERIOD * (turn % GRIFFIN_LIM_PERIOD)
        spectrum = torch.polar(magnitude, phases)
        previous = torch.zeros_like(spectrum)
        for _ in range(GRIFFIN_LIM_STEPS):
            consistent = self._spectrum(self._overlap_add(spectrum))
            accelerated = consistent + GRIFFIN_LIM_MOMENTUM * (consistent - previous)
            spectrum = magnitude * accelerated / (accelerated.abs() + 1e-8)
            previous = consistent
        return self._trim(self._overlap_add(spectrum))

    def build_loss(self, envelope: bool = False) -> ReconstructionLoss:
        """Build the loss of waveforms, or without phases of magnitudes."""
        return WaveformLoss(self.sample_rate) if self.phases else MagnitudeLoss(self.sample_rate, self.n_fft, envelope)

    def reconstruct(self, latent: Tensor) -> Tensor:
        """Decode latent vectors (batch, time, latent_dim) to what the loss compares: audio or magnitudes."""
        # No gradient has to pass through Griffin and Lim's iteration.
        return self.decode_latent(latent) if self.phases else self.decode_magnitudes(latent)

    def reconstruction_target(self, audio: Tensor) -> Tensor:
        """Return what `reconstruct` should give for audio (batch, time * hop)."""
        return audio if self.phases else self.magnitudes(audio)

    def convert_weights(self, other: CodecNetwork) -> dict[str, Tensor]:
        """Return the weights of another network; of one with phases the weights of magnitudes where this has none."""
        state = other.state_dict()
        if isinstance(other, FrameRateNetwork) and other.parts > self.parts:
            inputs = "d (sub part bin) -> part d (sub bin)"
            outputs = "(sub part bin) ... -> part (sub bin) ..."
            patterns = {
                "encoder.embed.weight": inputs,
                "decoder.head.weight": outputs,
                "decoder.head.bias": outputs,
            }
            for name, pattern in patterns.items():
                state[name] = rearrange(state[name], pattern, part=other.parts, sub=other.subframes)[0]
        return state

    def _decode_parts(self, latent: Tensor, frames: Tensor | None = None) -> Tensor:
        """Magnitudes and, with phases, real and imaginary parts: (part, batch, bin, time * subframes).

        Frames after the end of a row are silent.
        """
        mask = _frame_mask(frames, latent.shape[1])
        output = self.decoder(latent, mask).float()
        if mask is not None:
            # The exponential of minus infinity is a magnitude of 0.
            output = output.masked_fill(mask == 0, -torch.inf)
        parts = rearrange(output, "b t (sub part bin) -> part b bin (t sub)", sub=self.subframes, part=self.parts)
        return torch.cat((parts[:1].clamp(max=5.0).exp(), parts[1:].nan_to_num(neginf=1.0)))

    def _spectrum(self, audio: Tensor) -> Tensor:
        """STFT of audio (batch, samples) whose first frame begins at its first sample: (batch, bin, time)."""
        return torch.stft(
            audio, self.n_fft, self.stft_hop, window=self.window, center=False, normalized=True, return_complex=True
        )

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        """Inverse STFT with a constant envelope: 1.5 for four-fold overlapping squared Hann windows."""
        frames = torch.fft.irfft(spectrum, self.n_fft, dim=1, norm="ortho") * self.window[:, None] / 1.5
        length = self.n_fft + (frames.shape[2] - 1) * self.stft_hop
        return F.fold(frames, (1, length), (1, self.n_fft), stride=(1, self.stft_hop))[:, 0, 0]

    def _pad(self, audio: Tensor) -> Tensor:
        """Pad audio so that its STFT has `subframes` frames per code frame."""
        margin = (self.n_fft - self.stft_hop) // 2
        return F.pad(audio, (margin, margin))

    def _trim(self, audio: Tensor) -> Tensor:
        """Remove the padding of `_pad`."""
        margin = (self.n_fft - self.stft_hop) // 2
        return audio[:, margin:-margin]


def _frame_mask(frames: Tensor | None, time: int) -> Tensor | None:
    """Mask (batch, time, 1) that is 1 inside of each row; None for whole rows."""
    if frames is None:
        return None
    return (torch.arange(time, device=frames.device) < frames[:, None]).unsqueeze(-1).float()
