"""Write audio files piece by piece."""

from __future__ import annotations

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
import soundfile

from valle.errors import UserError
from valle.files import atomic_path

# Container and sample format of libsndfile by suffix.
FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
# AAC in an MPEG-4 container, which holds chapters.
MPEG4 = (".m4b", ".m4a")
SUFFIXES = (*FORMATS, *MPEG4)
# Samples that are encoded at once: libsndfile's Vorbis encoder overflows its stack with many.
BLOCK = 16_384


def check_suffix(path: str | Path) -> None:
    """Raise UserError for a file whose format cannot be written."""
    if Path(path).suffix.lower() not in SUFFIXES:
        raise UserError(f"{path}: can only write {', '.join(SUFFIXES)}")


class _Sink(Protocol):
    def write(self, samples: np.ndarray) -> Any: ...

    def close(self) -> None: ...


class _Mpeg4:
    """AAC in an MPEG-4 file."""

    def __init__(self, path: Path, sample_rate: int) -> None:
        import av

        self._av = av
        self._rate = sample_rate
        self._container = self._av.open(str(path), "w", format="mp4")
        self._stream = self._container.add_stream("aac", rate=sample_rate, layout="mono")
        self.chapters: list[tuple[str, float]] = []
        self._samples = 0
        self._started = False

    def write(self, samples: np.ndarray) -> None:
        integers = np.round(samples * 32767).astype(np.int16)
        frame = self._av.AudioFrame.from_ndarray(integers[None], format="s16", layout="mono")
        frame.sample_rate = self._rate
        frame.pts = self._samples
        self._samples += len(samples)
        for packet in self._stream.encode(frame):
            self._container.mux(packet)

    def close(self) -> None:
        for packet in self._stream.encode(None):
            self._container.mux(packet)
        ends = [start for _, start in self.chapters[1:]] + [self._samples / self._rate]
        self._container.set_chapters(
            [
                {
                    "id": number,
                    "start": round(1000 * start),
                    "end": round(1000 * end),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": title},
                }
                for number, ((title, start), end) in enumerate(zip(self.chapters, ends, strict=False), 1)
            ]
        )
        self._container.close()


class AudioWriter:
    """Writes a mono audio file piece by piece; it is complete or does not exist.

    Attributes:
        chapters: Title and second of each chapter, for `MPEG4`; to be set before the end of the block.

    Args:
        path: The file; its suffix determines the format, see `SUFFIXES`.
        sample_rate: Hertz.

    Raises:
        UserError: The suffix is another one, or the file cannot be written.
    """

    def __init__(self, path: str | Path, sample_rate: int) -> None:
        check_suffix(path)
        self.chapters: list[tuple[str, float]] = []
        self._path = Path(path)
        self._rate = sample_rate
        self._files = ExitStack()
        self._sink: _Sink

    def __enter__(self) -> AudioWriter:
        """Open a temporary file beside the output."""
        temporary = self._files.enter_context(atomic_path(self._path))
        suffix = self._path.suffix.lower()
        try:
            if suffix in MPEG4:
                self._sink = _Mpeg4(temporary, self._rate)
            else:
                container, subtype = FORMATS[suffix]
                self._sink = soundfile.SoundFile(temporary, "w", self._rate, 1, subtype=subtype, format=container)
        except soundfile.LibsndfileError as error:
            raise UserError(f"{self._path}: cannot be written ({error.error_string})") from error
        return self

    def write(self, samples: np.ndarray) -> None:
        """Write (time,) float32 samples; what exceeds [-1, 1] is clipped."""
        for start in range(0, len(samples), BLOCK):
            self._sink.write(np.clip(samples[start : start + BLOCK], -1.0, 1.0))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file and rename it; after an exception it is removed."""
        if isinstance(self._sink, _Mpeg4):
            self._sink.chapters = self.chapters
        with self._files:
            try:
                self._sink.close()
            except soundfile.LibsndfileError as reason:
                raise UserError(f"{self._path}: cannot be written ({reason.error_string})") from reason
            if error is not None:
                raise error
