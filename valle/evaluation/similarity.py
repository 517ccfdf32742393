"""How alike two voices are: cosine of Resemblyzer's speaker embeddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from valle import audio
from valle.evaluation.recognizer import missing

SAMPLE_RATE = 16_000


class SpeakerEncoder:
    """Resemblyzer's encoder (GE2E), its weights in its package."""

    def __init__(self) -> None:
        try:
            from resemblyzer import VoiceEncoder
        except ImportError as error:
            raise missing(error.name or "resemblyzer") from error
        self._encoder: Any = VoiceEncoder("cpu", verbose=False)

    def embed(self, samples: np.ndarray, sample_rate: int) -> np.ndarray:
        """(time,) samples -> (256,) embedding of length 1."""
        from resemblyzer import normalize_volume

        samples = audio.resample(samples, sample_rate, SAMPLE_RATE)
        return self._encoder.embed_utterance(normalize_volume(samples, -30, increase_only=True))


def similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two embeddings of length 1."""
    return float(a @ b)
