"""Speaker encoders by name: how alike two voices are."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from valle.errors import UserError
from valle.evaluation.recognizer import missing

SAMPLE_RATE = 16_000
DEFAULT = "resemblyzer"  # its weights come with its package, nothing is downloaded


class SpeakerEncoder(Protocol):
    """Hears who speaks."""

    def embed(self, samples: np.ndarray) -> np.ndarray:
        """(time,) samples at `SAMPLE_RATE` -> an embedding of length 1."""


class Resemblyzer:
    """The GE2E encoder of the package resemblyzer, 256 numbers a voice."""

    def __init__(self) -> None:
        try:
            # It imports webrtcvad, which imports pkg_resources, which warns of its own deprecation.
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
                from resemblyzer import VoiceEncoder
        except ImportError as error:
            raise missing(error.name or "resemblyzer") from error
        self._encoder: Any = VoiceEncoder("cpu", verbose=False)

    def embed(self, samples: np.ndarray) -> np.ndarray:
        from resemblyzer import normalize_volume

        return unit(self._encoder.embed_utterance(normalize_volume(samples, -30, increase_only=True)))


class XVector:
    """A transformers x-vector model: WavLM or another network under a TDNN, e.g. microsoft/wavlm-base-plus-sv."""

    def __init__(self, source: str) -> None:
        try:
            from transformers import AutoFeatureExtractor, AutoModelForAudioXVector
        except ImportError as error:
            raise missing("transformers", "transformers") from error
        self._extractor: Any = AutoFeatureExtractor.from_pretrained(source)
        self._model: Any = AutoModelForAudioXVector.from_pretrained(source).eval()

    def embed(self, samples: np.ndarray) -> np.ndarray:
        values = self._extractor(samples, sampling_rate=SAMPLE_RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            return unit(self._model(values).embeddings[0].numpy())


def load_encoder(name: str = DEFAULT) -> SpeakerEncoder:
    """The speaker encoder of that name, or in that folder. Raises UserError when it cannot be loaded."""
    if name == DEFAULT:
        return Resemblyzer()
    if name.endswith((".pth", ".pt")):
        from valle.evaluation.wavlm_tdnn import WavLMTDNNEncoder

        return WavLMTDNNEncoder(Path(name))
    try:
        return XVector(name)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(
            f"speaker encoder {name!r} cannot be loaded ({reason}); give {DEFAULT}, UniSpeech's "
            "wavlm_large_finetune.pth, or a folder or hub name of a transformers x-vector model"
        ) from error


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector at length 1."""
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two embeddings of length 1."""
    return float(a @ b)
