"""Losses between a codec's reconstruction and its input."""

from __future__ import annotations

import torch

from valle.codec.reconstruction_loss import MagnitudeLoss


def test_envelope_loss_depends_on_formants_and_not_on_pitch() -> None:
    loss = MagnitudeLoss(16_000, 640, envelope=True)
    bins = torch.arange(321) * 25.0  # hertz
    formants = sum((-(((bins - f) / 300) ** 2)).exp() for f in (500, 1500, 2500)) + 0.05

    def spectrum(pitch: float, envelope: torch.Tensor) -> torch.Tensor:
        harmonics = 1 + 0.9 * (2 * torch.pi * bins / pitch).cos()
        return ((envelope * harmonics) ** (1 / 0.3))[None, :, None]

    # Harmonics at both pitches (in hertz) vary faster along the spectrum than the envelope may.
    low = spectrum(70, formants)
    high = spectrum(90, formants)
    other_formants = spectrum(70, formants.roll(20))
    of_pitch = loss(low, high, num_codebooks=1)
    of_formants = loss(low, other_formants, num_codebooks=1)
    assert of_pitch["envelope"] < 0.05 * of_formants["envelope"]
    assert of_pitch["magnitude"] > 0.5 * of_formants["magnitude"]


def test_envelope_loss_is_only_of_the_first_codebook_and_where_asked_for() -> None:
    magnitudes = torch.rand(1, 321, 4)
    with_envelope = MagnitudeLoss(16_000, 640, envelope=True)
    assert set(with_envelope(magnitudes, magnitudes, num_codebooks=1)) == {"mel", "magnitude", "envelope"}
    assert set(with_envelope(magnitudes, magnitudes, num_codebooks=2)) == {"mel", "magnitude"}
    without = MagnitudeLoss(16_000, 640)
    assert set(without(magnitudes, magnitudes, num_codebooks=1)) == {"mel", "magnitude"}
