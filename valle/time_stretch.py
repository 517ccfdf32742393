"""Change the speed of speech without changing its pitch: FFmpeg's filter atempo (WSOLA), through PyAV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

MIN_SPEED = 0.5
MAX_SPEED = 2.0
# Samples that the filter gets at once: its rounding depends on it, and so is the same for streams and whole speech.
BLOCK = 1024


class TimeStretch:
    """Stretches speech that arrives in chunks.

    Args:
        sample_rate: Hertz.
        speed: Divisor of the duration, `MIN_SPEED` to `MAX_SPEED`.
    """

    def __init__(self, sample_rate: int, speed: float) -> None:
        import av

        self._graph: Any = av.filter.Graph()
        self._graph.link_nodes(
            self._graph.add_abuffer(format="flt", sample_rate=sample_rate, layout="mono"),
            self._graph.add("atempo", str(speed)),
            self._graph.add("abuffersink"),
        ).configure()
        self._rate = sample_rate
        self._speed = speed
        self._waiting = np.zeros(0, np.float32)
        self._received = 0
        self._returned = 0

    def push(self, samples: np.ndarray) -> np.ndarray:
        """Add (time,) float32 samples and return those that are complete, (time,)."""
        self._waiting = np.concatenate((self._waiting, samples.astype(np.float32)))
        pieces = [np.zeros(0, np.float32)]
        while len(self._waiting) >= BLOCK:
            pieces.append(self._filter(self._waiting[:BLOCK]))
            self._waiting = self._waiting[BLOCK:]
        return np.concatenate(pieces)

    def finish(self) -> np.ndarray:
        """Return the rest, (time,); all chunks together last the duration of the input divided by the speed."""
        rest = self._filter(self._waiting) if len(self._waiting) else self._waiting
        missing = max(0, round(self._received / self._speed) - self._returned + len(rest))
        self._graph.push(None)
        rest = np.concatenate((rest, self._pull()))[:missing]
        return np.pad(rest, (0, missing - len(rest)))

    def _filter(self, samples: np.ndarray) -> np.ndarray:
        import av

        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), "flt", "mono")
        frame.sample_rate = self._rate
        frame.pts = self._received
        self._received += len(samples)
        self._graph.push(frame)
        result = self._pull()
        self._returned += len(result)
        return result

    def _pull(self) -> np.ndarray:
        import av

        pieces = [np.zeros(0, np.float32)]
        while True:
            try:
                pieces.append(self._graph.pull().to_ndarray()[0])
            except (av.error.BlockingIOError, av.error.EOFError):
                return np.concatenate(pieces)


def stretch(samples: np.ndarray, sample_rate: int, speed: float) -> np.ndarray:
    """Stretch (time,) float32 samples; see `TimeStretch`."""
    if speed == 1:
        return samples
    stretcher = TimeStretch(sample_rate, speed)
    return np.concatenate((stretcher.push(samples), stretcher.finish()))


def stretch_chunks(chunks: Iterable[np.ndarray], sample_rate: int, speed: float) -> Iterator[np.ndarray]:
    """Stretch speech chunk by chunk; the chunks joined are what `stretch` returns."""
    if speed == 1:
        yield from chunks
        return
    stretcher = TimeStretch(sample_rate, speed)
    for chunk in chunks:
        yield stretcher.push(chunk)
    yield stretcher.finish()
