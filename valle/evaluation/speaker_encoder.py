"""Speaker encoders by name: embeddings whose cosine similarity is SIM."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from valle.evaluation.embeddings import normalize
from valle.evaluation.models import ENCODER, ENCODERS, loading
from valle.evaluation.wavlm_tdnn import WavLMTDNNEncoder
from valle.optional import require

SAMPLE_RATE = 16_000


class SpeakerEncoder(Protocol):
    """Maps speech to a speaker embedding."""

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Embed the speaker of a waveform.

        Args:
            samples: (time,) float samples at `SAMPLE_RATE`.

        Returns:
            A vector of length 1.
        """


class Resemblyzer:
    """GE2E encoder of the package resemblyzer (L. Wan et al., arXiv 1710.10467): 256-dimensional embeddings."""

    def __init__(self) -> None:
        # resemblyzer imports webrtcvad, whose import of pkg_resources warns of its deprecation.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
            self._package: Any = require("resemblyzer", "eval")
        self._encoder = self._package.VoiceEncoder("cpu", verbose=False)

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Embed the speaker of a waveform; see `SpeakerEncoder`."""
        samples = self._package.normalize_volume(samples, -30, increase_only=True)
        return normalize(self._encoder.embed_utterance(samples))


class XVector:
    """x-vector model of transformers: WavLM or another network with a TDNN, e.g. microsoft/wavlm-base-plus-sv.

    Args:
        source: Folder or hub name.
    """

    def __init__(self, source: str) -> None:
        transformers: Any = require("transformers", "transformers")
        self._extractor = transformers.AutoFeatureExtractor.from_pretrained(source)
        self._model = transformers.AutoModelForAudioXVector.from_pretrained(source).eval()

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """Embed the speaker of a waveform; see `SpeakerEncoder`."""
        values = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            return normalize(self._model(values).embeddings[0].numpy())


def load_encoder(name: str = ENCODER) -> SpeakerEncoder:
    """Load a speaker encoder.

    Args:
        name: "resemblyzer", a file with the weights of WavLM-TDNN (.pth or .pt), or folder or hub name of an x-vector
            model of transformers.

    Raises:
        UserError: It cannot be loaded.
    """
    if name == ENCODER:
        return Resemblyzer()
    if name.endswith((".pth", ".pt")):
        return WavLMTDNNEncoder(Path(name))
    with loading("speaker encoder", name, ENCODERS):
        return XVector(name)
