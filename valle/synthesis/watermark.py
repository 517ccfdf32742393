"""An inaudible mark in synthesized speech, so that a program can tell later that it was synthesized.

The networks and weights are Perth's (package `resemble-perth`, MIT): one adds a residual to the spectrogram below 2 kHz
where the speech masks it, the other hears whether it is there. The mark says yes or no; it names nobody. Who wants it
out can get it out: it is a help against mistakes, no proof.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from valle.audio import resample
from valle.errors import UserError

SAMPLE_RATE, FFT, HOP = 32_000, 2048, 320  # of Perth's spectrogram, hertz and samples
FLOOR, HEADROOM = -180.0, 15.0  # decibels that it counts as 0, and above full scale as 1
EDGE = 0.005  # seconds over which the residual sets in, so that marked pieces join without a click
QUIET = 1e-5  # peak under which nothing can be marked or heard
THRESHOLD = 0.5  # confidence above which speech counts as marked


@contextmanager
def _without_init(folder: Path) -> Iterator[None]:
    """While this lasts, Perth's modules can be imported without its packages' own `__init__`, which ask for torchaudio
    and librosa: both for resampling and spectrograms that are made here."""
    paths = {"perth": folder, "perth.perth_net": folder / "perth_net"}
    paths["perth.perth_net.perth_net_implicit"] = folder / "perth_net" / "perth_net_implicit"
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "perth"}
    for name in before:
        del sys.modules[name]
    for name, path in paths.items():
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__path__ = [str(path)]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "perth"]:
            del sys.modules[name]
        sys.modules.update(before)


@functools.cache
def _networks() -> tuple[Any, Any]:
    """Perth's encoder and decoder. Raises UserError when the package is missing."""
    spec = importlib.util.find_spec("perth")
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise UserError("the watermark needs the package resemble-perth: pip install resemble-perth, or --no-watermark")
    folder = Path(places[0])
    with _without_init(folder):
        model = importlib.import_module("perth.perth_net.perth_net_implicit.model")
        encoder = importlib.import_module(f"{model.__name__}.encoder").Encoder
        decoder = importlib.import_module(f"{model.__name__}.decoder").Decoder
        config = importlib.import_module("perth.perth_net.perth_net_implicit.config").default_hp
    weights = sorted((folder / "perth_net" / "pretrained" / "implicit").glob("*.pth.tar"))[-1]
    state: dict[str, Tensor] = torch.load(weights, map_location="cpu", weights_only=True)["model"]
    networks = []
    for name, kind in (("encoder", encoder), ("decoder", decoder)):
        network = kind(config.hidden_size, model.compute_subband_freq(config))
        network.load_state_dict({k.partition(".")[2]: v for k, v in state.items() if k.startswith(f"{name}.")})
        networks.append(network.eval())
    return networks[0], networks[1]


def _spectrum(samples: np.ndarray, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Complex spectrum at Perth's rate, (bin, frame), and its levels as Perth has them."""
    signal = torch.from_numpy(resample(samples, sample_rate, SAMPLE_RATE).astype(np.float32))
    signal = torch.nn.functional.pad(signal, (0, max(0, FFT - len(signal))))  # there is no shorter spectrum
    spectrum = torch.stft(signal, FFT, HOP, window=torch.hann_window(FFT), return_complex=True)
    level = 20 * torch.log10(spectrum.abs().clamp(min=10 ** (FLOOR / 20)))
    return spectrum, (level - FLOOR) / (HEADROOM - FLOOR)


@torch.inference_mode()
def mark(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Speech (time,) float32 with the mark in it; silence, and what lasts less than a hop, stays as it is."""
    if len(samples) < HOP or np.abs(samples).max() < QUIET:
        return samples
    spectrum, level = _spectrum(samples, sample_rate)
    marked = _networks()[0](level[None])[0][0]
    change = 10 ** ((HEADROOM - FLOOR) / 20 * (marked - level)) - 1
    residual = torch.istft(spectrum * change, FFT, HOP, window=torch.hann_window(FFT)).numpy()
    residual = resample(residual, SAMPLE_RATE, sample_rate)[: len(samples)]
    residual = np.pad(residual, (0, len(samples) - len(residual)))
    ramp = np.minimum(1.0, np.arange(len(samples)) / (EDGE * sample_rate))
    return (samples + residual * ramp * ramp[::-1]).astype(np.float32)


@torch.inference_mode()
def confidence(samples: np.ndarray, sample_rate: int) -> float:
    """How sure the detector is that speech (time,) carries the mark, 0 to 1. Silence and a click have none."""
    if len(samples) < HOP or np.abs(samples).max() < QUIET:
        return 0.0
    _, level = _spectrum(samples, sample_rate)
    return float(_networks()[1](level[None]).clamp(0, 1))
