"""Speaker embeddings of the prompts of a test set, and the similarity of an utterance to its prompt."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from valle import audio
from valle.audio import Audio
from valle.codec import Codec
from valle.evaluation.embeddings import cosine_similarity, normalize
from valle.evaluation.failures import attempt, attempt_read
from valle.evaluation.items import ScoringItem, file_state
from valle.evaluation.speaker_encoder import SAMPLE_RATE, SpeakerEncoder
from valle.optional import require

track = require("rich.progress", "eval").track


@dataclass(frozen=True)
class _PromptEmbedding:
    """Speaker embeddings of a prompt and of its codec resynthesis; None where it failed, with the reason."""

    original: np.ndarray | None
    resynthesized: np.ndarray | None
    failure: str


class PromptEmbeddings:
    """Speaker embeddings of all prompts of a test set.

    Args:
        items: Test set.
        codec: Codec of SIM-r.
        encoder: Speaker encoder.

    Attributes:
        digest: Hash of the files and speakers of all prompts, on which `speaker_correct` depends.
    """

    def __init__(self, items: Sequence[ScoringItem], codec: Codec, encoder: SpeakerEncoder) -> None:
        self._codec = codec
        self._encoder = encoder
        pairs = sorted({(item.prompt, item.speaker) for item in items if item.prompt is not None})
        states = json.dumps([[speaker, *file_state(prompt)] for prompt, speaker in pairs])
        self.digest = hashlib.sha256(states.encode()).hexdigest()[:16]
        # Several utterances can share a prompt, which is embedded once.
        self._prompts: dict[Path, _PromptEmbedding] = {}
        by_speaker: dict[str, list[np.ndarray]] = {}
        for prompt, speaker in track(pairs, "prompts"):
            self._prompts[prompt] = embedding = self._embed(prompt)
            if embedding.original is not None:
                by_speaker.setdefault(speaker, []).append(embedding.original)
        # A speaker is represented by the mean of the embeddings of all their prompts.
        self._speakers = {speaker: normalize(np.mean(vectors, axis=0)) for speaker, vectors in by_speaker.items()}

    def similarities(self, item: ScoringItem, samples: np.ndarray, failures: dict[str, str]) -> dict[str, Any]:
        """Compare the speaker of an utterance with the prompt's.

        Args:
            item: The utterance.
            samples: (time,) samples at the sample rate of speaker encoders.
            failures: Gets the reason of each score that is missing. An item without a prompt has none.

        Returns:
            The fields `sim_o`, `sim_r` and `speaker_correct` of a score.
        """
        scores: dict[str, Any] = {"sim_o": None, "sim_r": None, "speaker_correct": None}
        if item.prompt is None:
            return scores
        # Of an utterance that cannot be embedded, that is the reason; else a failure of the prompt is.
        prompt = self._prompts[item.prompt]
        embedding, failures["SIM"] = attempt(self._encoder.embed, samples)
        if embedding is None:
            return scores
        if prompt.original is None:
            failures["SIM"] = prompt.failure
            return scores
        scores["sim_o"] = cosine_similarity(embedding, prompt.original)
        nearest = max(self._speakers, key=lambda name: cosine_similarity(embedding, self._speakers[name]))
        scores["speaker_correct"] = nearest == item.speaker
        if prompt.resynthesized is None:
            failures["SIM-r"] = prompt.failure
        else:
            scores["sim_r"] = cosine_similarity(embedding, prompt.resynthesized)
        return scores

    def _embed(self, prompt: Path) -> _PromptEmbedding:
        """Embed the speaker of a prompt and of its codec resynthesis."""
        recording, failure = attempt_read(audio.read, prompt)
        if recording is None:
            return _PromptEmbedding(None, None, f"prompt: {failure}")
        samples = audio.resample(recording.samples, recording.sample_rate, SAMPLE_RATE)
        original, failure = attempt(self._encoder.embed, samples)
        if original is None:
            return _PromptEmbedding(None, None, f"prompt {prompt}: {failure}")
        resynthesized, failure = attempt(resynthesize, self._codec, recording)
        if resynthesized is not None:
            samples = audio.resample(resynthesized, self._codec.sample_rate, SAMPLE_RATE)
            resynthesized, failure = attempt(self._encoder.embed, samples)
        reason = f"codec resynthesis of prompt {prompt}: {failure}" if failure else ""
        return _PromptEmbedding(original, resynthesized, reason)


def resynthesize(codec: Codec, recording: Audio) -> np.ndarray:
    """Encode and decode a recording; returns (time,) samples at the codec's sample rate."""
    return codec.decode(codec.encode(recording.samples, recording.sample_rate))
