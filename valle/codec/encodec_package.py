"""Imports of the `encodec` package.

The package imports torchaudio at its top, for resampling (done here by soxr) and for the discriminator's spectrogram.
torchaudio has to match torch's build exactly and often is not installed or does not load. Where it loads it is used;
elsewhere a small stand-in takes its name while `encodec` (or `vocos`) is imported, and only then.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import ModuleType

import torch
from torch import Tensor, nn

from valle.optional import stand_ins


class _Spectrogram(nn.Module):
    """Complex spectrogram normalized by the window's energy: the case that the discriminator uses."""

    window: Tensor

    def __init__(
        self,
        n_fft: int,
        hop_length: int,
        win_length: int,
        window_fn: Callable[[int], Tensor] = torch.hann_window,
        **_: object,
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        window = window_fn(win_length)
        self.register_buffer("window", window / window.square().sum().sqrt(), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Compute the spectrogram of audio (batch, channel, time): complex (batch, channel, bin, frame)."""
        spectrum = torch.stft(
            audio.flatten(0, 1),
            self.n_fft,
            self.hop_length,
            window=self.window,
            center=False,
            return_complex=True,
        )
        return spectrum.unflatten(0, audio.shape[:2])


def _torchaudio_stand_in() -> dict[str, ModuleType]:
    """The part of torchaudio that `encodec` and `vocos` need to be imported and used here."""
    package = ModuleType("torchaudio")
    transforms = ModuleType("torchaudio.transforms")
    functional = ModuleType("torchaudio.functional")
    filters = ModuleType("torchaudio.functional.functional")
    package.transforms = transforms  # type: ignore[attr-defined]
    transforms.Spectrogram = _Spectrogram  # type: ignore[attr-defined]
    # vocos imports these two for a head that is not used here.
    for name in ("_hz_to_mel", "_mel_to_hz"):
        setattr(filters, name, None)
    return {module.__name__: module for module in (package, transforms, functional, filters)}


def importable_torchaudio() -> AbstractContextManager[None]:
    """Make `import torchaudio` succeed inside of a `with` block.

    Returns:
        A context manager that changes nothing where torchaudio itself loads, and puts a stand-in into `sys.modules`
        for the time of the block elsewhere.
    """
    try:
        importlib.import_module("torchaudio")
    # A build for another version of torch fails in its own ways: missing symbols, operators or versions.
    except Exception:
        return stand_ins(_torchaudio_stand_in())
    return nullcontext()


with importable_torchaudio():
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
    "importable_torchaudio",
]
