"""Losses between a codec's reconstruction and its input."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Seconds. What varies more slowly along the spectrum is its envelope, what varies faster its harmonics.
ENVELOPE_QUEFRENCY = 0.0031


def mel_filters(sample_rate: int, n_fft: int, num_mels: int) -> Tensor:
    """Return triangular filters equally spaced on the mel scale, (n_fft // 2 + 1, num_mels), each with sum 1."""

    def mel(hertz: Tensor) -> Tensor:
        return 2595 * torch.log10(1 + hertz / 700)

    frequencies = mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
    edges = torch.linspace(0, float(frequencies[-1]), num_mels + 2)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    return filters / filters.sum(0).clamp(min=1e-5)


def envelope_projection(bins: int, cosines: int) -> Tensor:
    """Return the matrix (bins, bins) that projects a spectrum on its first cosines (DCT-II), its envelope."""
    positions = (torch.arange(bins) + 0.5) / bins
    basis = (torch.pi * torch.arange(cosines)[:, None] * positions).cos()
    basis = basis / basis.norm(dim=1, keepdim=True)
    return basis.T @ basis


class ReconstructionLoss(nn.Module, ABC):
    """The loss of what `CodecNetwork.reconstruct` gives, in parts.

    Attributes:
        summary: Names of the parts that are added to select a checkpoint.
    """

    summary: tuple[str, ...]

    @abstractmethod
    def forward(self, output: Tensor, target: Tensor, num_codebooks: int) -> dict[str, Tensor]:
        """Compute the parts of the loss.

        Args:
            output: The reconstruction.
            target: What it should be, of the same shape.
            num_codebooks: Number of codebooks that `output` was decoded from.

        Returns:
            Losses (scalars) by name.
        """


class MagnitudeLoss(ReconstructionLoss):
    """Loss of STFT magnitudes, for a network without phases.

    Its parts are `mel`, the L1 distance of log mel spectra; `magnitude`, the L1 distance of magnitudes compressed to
    |X| ** 0.3; and where it is asked for `envelope`, the same of smoothed spectra, for reconstructions from the first
    codebook alone: that codebook then determines the formants, and not the pitch.

    Args:
        sample_rate: Sample rate in hertz.
        n_fft: Window of the STFT in samples.
        envelope: Whether to compute `envelope`.
    """

    summary = ("mel", "magnitude")
    mels: Tensor
    smoothing: Tensor

    def __init__(self, sample_rate: int, n_fft: int, envelope: bool = False) -> None:
        super().__init__()
        self.envelope = envelope
        self.register_buffer("mels", mel_filters(sample_rate, n_fft, num_mels=80), persistent=False)
        smoothing = envelope_projection(n_fft // 2 + 1, round(ENVELOPE_QUEFRENCY * sample_rate))
        self.register_buffer("smoothing", smoothing, persistent=False)

    def forward(self, output: Tensor, target: Tensor, num_codebooks: int) -> dict[str, Tensor]:
        """Compute the losses of magnitudes (batch, bin, time); see `ReconstructionLoss`."""
        # Small offsets bound the gradients at silence.
        mel, target_mel = (((m.transpose(1, 2) @ self.mels) + 1e-3).log() for m in (output, target))
        compressed, target_compressed = ((m + 1e-5) ** 0.3 for m in (output, target))
        losses = {"mel": F.l1_loss(mel, target_mel), "magnitude": F.l1_loss(compressed, target_compressed)}
        if self.envelope and num_codebooks == 1:
            losses["envelope"] = F.l1_loss(self.smoothing @ compressed, self.smoothing @ target_compressed)
        return losses


class WaveformLoss(ReconstructionLoss):
    """Loss of waveforms: multi-scale mel and compressed complex spectra from one STFT per scale, and samples.

    Its parts are `time`, the L1 distance of samples; `mel`, the mean over scales of the L1 distance of log mel spectra;
    and `complex`, the mean over scales of the L1 distance of spectra whose magnitudes are compressed to |X| ** 0.3,
    which weighs quiet and loud parts equally (as in speech enhancement, arXiv 2010.15174).

    Args:
        sample_rate: Sample rate in hertz.
        windows: STFT windows in samples.
    """

    summary = ("mel", "complex")

    def __init__(self, sample_rate: int, windows: tuple[int, ...] = (256, 640, 1536)) -> None:
        super().__init__()
        self.windows = windows
        for window in windows:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            mels = mel_filters(sample_rate, window, num_mels=min(80, window // 12))
            self.register_buffer(f"mels_{window}", mels, persistent=False)

    def forward(self, output: Tensor, target: Tensor, num_codebooks: int) -> dict[str, Tensor]:
        """Compute the losses of audio (batch, samples); see `ReconstructionLoss`."""
        mel_loss = output.new_zeros(())
        complex_loss = output.new_zeros(())
        for window in self.windows:
            mel, spectrum = self._spectra(output, window)
            with torch.no_grad():
                target_mel, target_spectrum = self._spectra(target, window)
            mel_loss = mel_loss + F.l1_loss(mel, target_mel)
            complex_loss = complex_loss + F.l1_loss(spectrum, target_spectrum)
        scales = len(self.windows)
        return {"time": F.l1_loss(output, target), "mel": mel_loss / scales, "complex": complex_loss / scales}

    def _spectra(self, audio: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """Log mel spectrum, and real part, imaginary part and magnitude of the compressed spectrum."""
        spectrum = torch.stft(
            audio,
            window,
            window // 4,
            window=getattr(self, f"window_{window}"),
            normalized=True,
            return_complex=True,
        )
        parts = torch.view_as_real(spectrum)
        power = parts.square().sum(-1) + 1e-7
        mel = (power.sqrt().transpose(1, 2) @ getattr(self, f"mels_{window}") + 1e-3).log()
        # The power is the square of the magnitude: |X| ** 0.3.
        compressed = power**0.15
        return mel, torch.cat((parts * (compressed * power.rsqrt())[..., None], compressed[..., None]), dim=-1)
