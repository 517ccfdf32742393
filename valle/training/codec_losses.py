"""What the codec is trained on: spectral and adversarial losses, EnCodec's balancer (arXiv 2210.13438, section 3.4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ENVELOPE_QUEFRENCY = 0.0031  # seconds: what varies slower along the spectrum is its envelope, not its harmonics


def mel_filters(sample_rate: int, n_fft: int, num_mels: int) -> Tensor:
    """Triangular filters equally spaced on the mel scale: (n_fft // 2 + 1, num_mels), each summing to 1."""

    def mel(hertz: Tensor) -> Tensor:
        return 2595 * torch.log10(1 + hertz / 700)

    frequencies = mel(torch.linspace(0, sample_rate / 2, n_fft // 2 + 1))
    edges = torch.linspace(0, float(frequencies[-1]), num_mels + 2)
    rising = (frequencies[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - frequencies[:, None]) / (edges[2:] - edges[1:-1])
    filters = torch.minimum(rising, falling).clamp(min=0)
    return filters / filters.sum(0).clamp(min=1e-5)


def smoothing(bins: int, cosines: int) -> Tensor:
    """Matrix (bins, bins) that keeps of a spectrum its first cosines (DCT-II): its envelope, without harmonics."""
    places = (torch.arange(bins) + 0.5) / bins
    basis = (torch.pi * torch.arange(cosines)[:, None] * places).cos()
    basis = basis / basis.norm(dim=1, keepdim=True)
    return basis.T @ basis


class MagnitudeLoss(nn.Module):
    """Of STFT magnitudes themselves, where a network tells these and no phases.

    mel:       L1 distance of log mel spectra
    magnitude: L1 distance of magnitudes compressed to |X| ** 0.3
    envelope:  the same of their smoothed spectra, if asked for
    """

    mels: Tensor
    smoothing: Tensor

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        self.register_buffer("mels", mel_filters(sample_rate, n_fft, num_mels=80), persistent=False)
        cosines = round(ENVELOPE_QUEFRENCY * sample_rate)
        self.register_buffer("smoothing", smoothing(n_fft // 2 + 1, cosines), persistent=False)

    def forward(self, output: Tensor, target: Tensor, envelope: bool = False) -> dict[str, Tensor]:
        """output, target: (batch, bin, time). Returns the losses by name."""
        mel, target_mel = (((m.transpose(1, 2) @ self.mels) + 1e-3).log() for m in (output, target))
        compressed, target_compressed = ((m + 1e-5) ** 0.3 for m in (output, target))
        losses = {"mel": F.l1_loss(mel, target_mel), "magnitude": F.l1_loss(compressed, target_compressed)}
        if envelope:
            losses["envelope"] = F.l1_loss(self.smoothing @ compressed, self.smoothing @ target_compressed)
        return losses


class SpectralLoss(nn.Module):
    """Multi-scale mel loss and compressed complex STFT loss, from one STFT a scale.

    mel:     mean over scales of the L1 distance of log mel spectra
    complex: mean over scales of the L1 distance of spectra whose magnitudes are compressed to |X| ** 0.3, which
             weighs quiet and loud parts alike (as in speech enhancement, arXiv 2010.15174)
    """

    def __init__(self, sample_rate: int, windows: tuple[int, ...] = (256, 640, 1536)) -> None:
        super().__init__()
        self.windows = windows
        for window in windows:
            self.register_buffer(f"window_{window}", torch.hann_window(window), persistent=False)
            mels = mel_filters(sample_rate, window, num_mels=min(80, window // 12))
            self.register_buffer(f"mels_{window}", mels, persistent=False)

    def _spectra(self, audio: Tensor, window: int) -> tuple[Tensor, Tensor]:
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
        compressed = power**0.15
        return mel, torch.cat((parts * (compressed * power.rsqrt())[..., None], compressed[..., None]), dim=-1)

    def forward(self, output: Tensor, target: Tensor) -> dict[str, Tensor]:
        """output, target: audio (batch, time). Returns the two losses by name."""
        mel_loss, complex_loss = output.new_zeros(()), output.new_zeros(())
        for window in self.windows:
            mel, spectrum = self._spectra(output, window)
            with torch.no_grad():
                target_mel, target_spectrum = self._spectra(target, window)
            mel_loss = mel_loss + F.l1_loss(mel, target_mel)
            complex_loss = complex_loss + F.l1_loss(spectrum, target_spectrum)
        return {"mel": mel_loss / len(self.windows), "complex": complex_loss / len(self.windows)}


def discriminator_loss(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss of the discriminators, mean over scales (EnCodec, equation 4)."""
    losses = [F.relu(1 - r).mean() + F.relu(1 + f).mean() for r, f in zip(real, fake, strict=True)]
    return torch.stack(losses).mean()


def adversarial_losses(
    fake: list[Tensor], fake_features: list[list[Tensor]], real_features: list[list[Tensor]]
) -> dict[str, Tensor]:
    """The generator's hinge loss, and the relative feature matching loss (EnCodec, equation 2)."""
    hinge = torch.stack([F.relu(1 - f).mean() for f in fake]).mean()
    matching = [
        F.l1_loss(f, r.detach()) / r.detach().abs().mean()
        for fake_scale, real_scale in zip(fake_features, real_features, strict=True)
        for f, r in zip(fake_scale, real_scale, strict=True)
    ]
    return {"adversarial": hinge, "features": torch.stack(matching).mean()}


class Balancer:
    """Makes a loss's weight its share of the gradient at the output, whatever the loss's own scale.

    g_i = d loss_i / d output is rescaled to `weight_i / sum(weights) * g_i / average(|g_i|)`
    (EnCodec, equation 5, with an exponential moving average of the norms).
    """

    def __init__(self, weights: dict[str, float], decay: float = 0.99) -> None:
        self.weights, self.decay = weights, decay
        self.norms: dict[str, tuple[float, float]] = {}  # sum of decayed norms, sum of decayed counts

    def gradient(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        """The balanced gradient of all `losses` with respect to `output`, of about unit norm."""
        total = torch.zeros_like(output)
        weight_sum = sum(self.weights[name] for name in losses)
        for name, loss in losses.items():
            (gradient,) = torch.autograd.grad(loss, output, retain_graph=True)
            norm, count = self.norms.get(name, (0.0, 0.0))
            self.norms[name] = (norm * self.decay + float(gradient.norm()), count * self.decay + 1)
            average = self.norms[name][0] / self.norms[name][1]
            total += self.weights[name] / weight_sum / (average + 1e-12) * gradient
        return total
