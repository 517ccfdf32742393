"""Encode audio while it is synthesized."""

from __future__ import annotations

import io
from typing import Any, Literal, cast, get_args

import av
import numpy as np
import soxr

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[Format, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# FFmpeg's container and encoder, and the encoder's sample format.
_ENCODERS = {
    "mp3": ("mp3", "libmp3lame", "s16p"),
    "opus": ("ogg", "libopus", "s16"),
    "aac": ("adts", "aac", "fltp"),
    "flac": ("flac", "flac", "s16"),
}
# Hertz: clients of OpenAI's API play pcm at this rate, since it has no header.
PCM_RATE = 24_000
# Kilobits per second; speech at 16 or 24 kHz has no more in it.
_BIT_RATES = {"mp3": 64, "opus": 32, "aac": 64}
# What stands for an unknown length in the header of a stream.
_UNKNOWN = 0xFFFFFFFF


class _Output(io.RawIOBase):
    """Collects what an encoder writes; it cannot be searched, so that headers are not changed afterwards."""

    def __init__(self) -> None:
        self.data = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.data += data
        return len(data)

    def take(self) -> bytes:
        data = bytes(self.data)
        self.data.clear()
        return data


def _integers(samples: np.ndarray) -> np.ndarray:
    return np.round(np.clip(samples, -1.0, 1.0) * 32767).astype("<i2")


class AudioEncoder:
    """Encodes (time,) float32 samples that arrive in chunks.

    Args:
        kind: The format.
        sample_rate: Hertz of the samples.
    """

    def __init__(self, kind: Format, sample_rate: int) -> None:
        self.kind = kind
        self._rate = sample_rate
        self._started = False
        self._resampler: Any = None
        if kind == "pcm" and sample_rate != PCM_RATE:
            self._resampler = soxr.ResampleStream(sample_rate, PCM_RATE, 1, dtype="float32", quality="HQ")
        if kind in _ENCODERS:
            container, encoder, layout = _ENCODERS[kind]
            self._output = _Output()
            # Ogg pages of a fifth of a second, in microseconds: the default of a second would delay a stream.
            options = {"page_duration": "200000"} if container == "ogg" else {}
            self._container = cast(Any, av.open(self._output, "w", format=container, options=options))
            self._stream = self._container.add_stream(encoder, rate=sample_rate)
            self._stream.layout = "mono"
            self._stream.format = layout
            if kind in _BIT_RATES:
                self._stream.bit_rate = 1000 * _BIT_RATES[kind]
            self._samples = 0

    def encode(self, samples: np.ndarray) -> bytes:
        """Return the bytes that are complete with these samples."""
        if self.kind == "wav":
            header = b"" if self._started else _wav_header(self._rate)
            self._started = True
            return header + _integers(samples).tobytes()
        if self.kind == "pcm":
            if self._resampler is not None:
                samples = self._resampler.resample_chunk(samples)
            return _integers(samples).tobytes()
        if len(samples):
            self._push(self._frame(samples))
        return self._output.take()

    def finish(self) -> bytes:
        """Return the rest."""
        if self.kind == "wav":
            return b"" if self._started else _wav_header(self._rate)
        if self.kind == "pcm":
            if self._resampler is None:
                return b""
            return _integers(self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)).tobytes()
        self._push(None)
        self._container.close()
        return self._output.take()

    def _frame(self, samples: np.ndarray) -> Any:
        frame = av.AudioFrame.from_ndarray(_integers(samples)[None], "s16", "mono")
        frame.sample_rate = self._rate
        frame.pts = self._samples
        self._samples += len(samples)
        return frame

    def _push(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._container.mux(packet)


def _wav_header(rate: int) -> bytes:
    """Return the header of a 16-bit mono WAV stream whose length is not known."""
    fields = [
        b"RIFF",
        _UNKNOWN.to_bytes(4, "little"),
        b"WAVEfmt ",
        (16).to_bytes(4, "little"),
        (1).to_bytes(2, "little"),
        (1).to_bytes(2, "little"),
        rate.to_bytes(4, "little"),
        (2 * rate).to_bytes(4, "little"),
        (2).to_bytes(2, "little"),
        (16).to_bytes(2, "little"),
        b"data",
        _UNKNOWN.to_bytes(4, "little"),
    ]
    return b"".join(fields)
