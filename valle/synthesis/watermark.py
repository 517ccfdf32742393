"""An inaudible watermark that marks speech as synthesized, and its detector.

Networks and weights are those of Perth (package `resemble-perth`, MIT). The encoder adds a residual to the spectrogram
below 2 kHz where the speech masks it; the decoder detects it. The watermark is a single bit and identifies nobody. It
can be removed on purpose: it prevents mistakes and proves nothing.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from valle.audio import resample
from valle.errors import UserError
from valle.initialization import SkipInitialization
from valle.optional import stand_ins

# Sample rate of Perth's spectrogram in hertz, its window and its hop in samples.
SAMPLE_RATE = 32_000
FFT = 2048
HOP = 320
# Decibels to which Perth's levels 0 and 1 correspond.
FLOOR = -180.0
HEADROOM = 15.0
# Seconds over which the residual fades in and out, so that marked pieces join without a click.
FADE = 0.005
# Peak below which audio is silent: it is not marked, and nothing is detected in it.
MIN_PEAK = 1e-5
# Confidence above which speech counts as synthesized.
THRESHOLD = 0.5


def _perth_packages(folder: Path) -> dict[str, ModuleType]:
    """Return empty stand-ins for Perth's packages that find the modules in `folder`.

    The packages' own `__init__` import torchaudio and librosa for resampling and spectrograms, which are not used here.
    """
    paths = {
        "perth": folder,
        "perth.perth_net": folder / "perth_net",
        "perth.perth_net.perth_net_implicit": folder / "perth_net" / "perth_net_implicit",
    }
    modules = {}
    for name, path in paths.items():
        modules[name] = ModuleType(name)
        modules[name].__path__ = [str(path)]
    return modules


@functools.cache
def _networks() -> tuple[Any, Any]:
    """Load Perth's encoder and decoder; raise a UserError when the package is missing."""
    spec = importlib.util.find_spec("perth")
    folders = spec.submodule_search_locations if spec else None
    if not folders:
        raise UserError("the watermark needs the package resemble-perth: pip install resemble-perth, or --no-watermark")
    folder = Path(folders[0])
    with stand_ins(_perth_packages(folder)):
        model = importlib.import_module("perth.perth_net.perth_net_implicit.model")
        encoder = importlib.import_module(f"{model.__name__}.encoder").Encoder
        decoder = importlib.import_module(f"{model.__name__}.decoder").Decoder
        config = importlib.import_module("perth.perth_net.perth_net_implicit.config").default_hp
    weights = sorted((folder / "perth_net" / "pretrained" / "implicit").glob("*.pth.tar"))[-1]
    state: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)["model"]
    networks = []
    for name, kind in (("encoder", encoder), ("decoder", decoder)):
        with SkipInitialization():
            network = kind(config.hidden_size, model.compute_subband_freq(config))
        network.load_state_dict({k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{name}.")})
        networks.append(network.eval())
    return networks[0], networks[1]


def _spectrum(samples: np.ndarray, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Compute the complex spectrum (bin, frame) at Perth's sample rate, and its levels scaled to Perth's 0 to 1."""
    signal = torch.from_numpy(resample(samples, sample_rate, SAMPLE_RATE).astype(np.float32))
    # The spectrum needs at least one window.
    signal = torch.nn.functional.pad(signal, (0, max(0, FFT - len(signal))))
    spectrum = torch.stft(signal, FFT, HOP, window=torch.hann_window(FFT), return_complex=True)
    level = 20 * torch.log10(spectrum.abs().clamp(min=10 ** (FLOOR / 20)))
    return spectrum, (level - FLOOR) / (HEADROOM - FLOOR)


@torch.inference_mode()
def mark(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Add the watermark to speech.

    Args:
        samples: (time,) float32.
        sample_rate: Sample rate in hertz.

    Returns:
        (time,) float32. Silence, and audio of fewer than `HOP` samples, is returned unchanged.

    Raises:
        UserError: The package resemble-perth is not installed.
    """
    if len(samples) < HOP or np.abs(samples).max() < MIN_PEAK:
        return samples
    spectrum, level = _spectrum(samples, sample_rate)
    marked = _networks()[0](level[None])[0][0]
    # Scale the spectrum by the change of its level: the phases of the speech remain.
    change = 10 ** ((HEADROOM - FLOOR) / 20 * (marked - level)) - 1
    residual = torch.istft(spectrum * change, FFT, HOP, window=torch.hann_window(FFT)).numpy()
    residual = resample(residual, SAMPLE_RATE, sample_rate)[: len(samples)]
    residual = np.pad(residual, (0, len(samples) - len(residual)))
    fade = np.minimum(1.0, np.arange(len(samples)) / (FADE * sample_rate))
    return (samples + residual * fade * fade[::-1]).astype(np.float32)


@torch.inference_mode()
def confidence(samples: np.ndarray, sample_rate: int) -> float:
    """Detect the watermark.

    Args:
        samples: (time,) float32.
        sample_rate: Sample rate in hertz.

    Returns:
        Confidence that the watermark is present, 0 to 1; 0 for silence and for audio of fewer than `HOP` samples.

    Raises:
        UserError: The package resemble-perth is not installed.
    """
    if len(samples) < HOP or np.abs(samples).max() < MIN_PEAK:
        return 0.0
    _, level = _spectrum(samples, sample_rate)
    return float(_networks()[1](level[None]).clamp(0, 1))
