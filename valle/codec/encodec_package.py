"""The one place that imports the `encodec` package.

The package imports torchaudio at its top, for resampling (done here by soxr) and for the discriminator's
spectrogram. torchaudio has to match torch's build exactly and often does not load, so while `encodec` (or `vocos`,
see there) is imported a small stand-in takes its name; afterwards the name is free again.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import torch
from torch import Tensor, nn


class _Spectrogram(nn.Module):
    """Complex spectrogram normalized by the window's energy, the case the discriminator uses."""

    window: Tensor

    def __init__(self, n_fft: int, hop_length: int, win_length: int, window_fn=torch.hann_window, **_: object) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        window = window_fn(win_length)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """audio (batch, channel, time) -> complex (batch, channel, bin, frame)."""
        spectrum = torch.stft(
            audio.flatten(0, 1),
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        return spectrum.unflatten(0, audio.shape[:2])


@contextmanager
def torchaudio_stand_in() -> Iterator[None]:
    """While this lasts, `import torchaudio` finds the little that `encodec` and `vocos` need of it to be imported."""
    modules = {
        name: ModuleType(name)
        for name in (
            "torchaudio",
            "torchaudio.transforms",
            "torchaudio.functional",
            "torchaudio.functional.functional",
        )
    }
    modules["torchaudio"].transforms = modules["torchaudio.transforms"]  # type: ignore[attr-defined]
    modules["torchaudio.transforms"].Spectrogram = _Spectrogram  # type: ignore[attr-defined]
    for name in ("_hz_to_mel", "_mel_to_hz"):  # vocos imports them for a head that is not used here
        setattr(modules["torchaudio.functional.functional"], name, None)
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name, module in before.items():
            del sys.modules[name]
            if module is not None:
                sys.modules[name] = module


with torchaudio_stand_in():
    importlib.import_module("encodec.msstftd")

from encodec import EncodecModel  # noqa: E402
from encodec.modules import SEANetDecoder, SEANetEncoder  # noqa: E402
from encodec.msstftd import MultiScaleSTFTDiscriminator  # noqa: E402
from encodec.quantization import ResidualVectorQuantizer  # noqa: E402
from encodec.quantization.core_vq import EuclideanCodebook  # noqa: E402

__all__ = [
    "EncodecModel",
    "EuclideanCodebook",
    "MultiScaleSTFTDiscriminator",
    "ResidualVectorQuantizer",
    "SEANetDecoder",
    "SEANetEncoder",
    "torchaudio_stand_in",
]
