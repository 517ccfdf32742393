"""The codec interface: waveform to discrete codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from valle import audio

# Frames that are coded at a time, so that memory stays bounded for a recording of any length.
CHUNK_FRAMES = 1500


class Codec(ABC):
    """A neural audio codec.

    Waveforms are (time,) float32 numpy arrays in [-1, 1]; codes are (time, codebook) int64 tensors.

    Attributes:
        name: Name as in `valle.codec.load(name)`.
        sample_rate: Sample rate in hertz.
        hop: Samples per frame.
        num_codebooks: Number of codebooks; 8 for every codec here.
        codebook_size: Entries per codebook; 1024 for every codec here.
        context: Frames on either side that can change the codes or the waveform of a frame.
        merge: Consecutive frames that share one code of the first codebook (`valle.codec.merging`); 1 for the papers.
        chunk_multiple: A chunk that is decoded by itself has to start at a multiple of so many frames to give what
            decoding all frames at once gives.
    """

    name: str
    sample_rate: int
    hop: int
    num_codebooks: int
    codebook_size: int
    context: int
    merge: int = 1
    chunk_multiple: int = 1

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.sample_rate / self.hop

    @property
    @abstractmethod
    def codebooks(self) -> Tensor:
        """The vector of each entry, (codebook, entry, latent_dim)."""

    @abstractmethod
    def _encode(self, waveforms: Tensor, frames: Tensor) -> Tensor:
        """Encode waveforms (batch, time * hop), zero after `frames` (batch,) frames, as (batch, time, codebook)."""

    @abstractmethod
    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        """Decode codes (batch, time, codebook) of `frames` (batch,) frames to waveforms (batch, time * hop)."""

    def num_frames(self, num_samples: int) -> int:
        """Return the frames of a waveform of `num_samples`, a multiple of `merge`; the last ones may be padded."""
        return -(-num_samples // (self.hop * self.merge)) * self.merge

    def chunk_start(self, frame: int) -> int:
        """Return the first frame that has to be decoded to compute the frames from `frame` on exactly."""
        start = max(0, frame - self.context)
        return start - start % self.chunk_multiple

    def encode(self, samples: np.ndarray, sample_rate: int) -> Tensor:
        """Encode a waveform.

        Args:
            samples: (time,) float32 samples.
            sample_rate: Their rate in hertz; another one than the codec's is resampled.

        Returns:
            Codes (time, codebook) int64, where time = ceil(duration * frame_rate), rounded up to a multiple of `merge`.

        Raises:
            ValueError: The waveform is empty or not one-dimensional.
        """
        return self.encode_batch([samples], sample_rate)[0]

    @torch.inference_mode()
    def decode(self, codes: Tensor | np.ndarray) -> np.ndarray:
        """Decode codes.

        Args:
            codes: (time, codebook) integers. With fewer than `num_codebooks` the audio is coarser.

        Returns:
            (time * hop,) float32 samples at `sample_rate`.

        Raises:
            ValueError: The shape or a code is out of range.
        """
        codes = torch.as_tensor(codes)
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= self.num_codebooks or len(codes) == 0:
            raise ValueError(f"codes of shape {tuple(codes.shape)}: expected (time, 1 to {self.num_codebooks})")
        if int(codes.min()) < 0 or int(codes.max()) >= self.codebook_size:
            raise ValueError(f"codes must lie between 0 and {self.codebook_size - 1}")
        chunks = []
        for start, end, left, right in self._chunks(len(codes)):
            samples = self._decode(codes[None, left:right], torch.tensor([right - left]))
            chunks.append(samples[0, (start - left) * self.hop : (end - left) * self.hop])
        return torch.cat(chunks).float().numpy()

    @torch.inference_mode()
    def encode_batch(self, waveforms: list[np.ndarray], sample_rate: int) -> list[Tensor]:
        """Encode several waveforms at once; each gives the codes that `encode` gives."""
        waveforms = self._prepare(waveforms, sample_rate)
        if self._is_too_long(waveforms):
            return [self.encode(samples, self.sample_rate) for samples in waveforms]
        return self._encode_chunks(waveforms, lambda samples, frames, _: self._encode(samples, frames))

    def decode_batch(self, codes: list[Tensor]) -> list[np.ndarray]:
        """Decode several code sequences, each as `decode` does.

        One by one: with the shapes that it has alone, each gets the same samples to the last bit, and a padded batch is
        slower on a CPU.
        """
        return [self.decode(item) for item in codes]

    def _prepare(self, waveforms: list[np.ndarray], sample_rate: int) -> list[np.ndarray]:
        """Check waveforms and resample them to the codec's rate."""
        waveforms = [np.asarray(samples, dtype=np.float32) for samples in waveforms]
        for samples in waveforms:
            if samples.ndim != 1 or len(samples) == 0:
                raise ValueError(f"samples of shape {samples.shape}: expected (time,) with at least one sample")
        return [audio.resample(samples, sample_rate, self.sample_rate) for samples in waveforms]

    def _is_too_long(self, waveforms: list[np.ndarray]) -> bool:
        """Whether prepared waveforms have to be coded one by one to bound memory."""
        return len(waveforms) > 1 and max(self.num_frames(len(samples)) for samples in waveforms) > CHUNK_FRAMES

    def _encode_chunks(
        self, waveforms: list[np.ndarray], encode: Callable[[Tensor, Tensor, int], Tensor]
    ) -> list[Tensor]:
        """Encode prepared waveforms chunk by chunk.

        Args:
            waveforms: Waveforms at the codec's rate.
            encode: Gives the codes (batch, time, codebook) of waveforms (batch, time * hop), their lengths in frames
                (batch,), and the index of their first frame in the whole.

        Returns:
            Codes (time, codebook) of each waveform.
        """
        frames = [self.num_frames(len(samples)) for samples in waveforms]
        padded = torch.zeros(len(waveforms), max(frames) * self.hop)
        for row, samples in zip(padded, waveforms, strict=True):
            row[: len(samples)] = torch.from_numpy(samples)
        chunks = []
        for start, end, left, right in self._chunks(max(frames)):
            lengths = torch.tensor(frames).clamp(max=right) - left
            codes = encode(padded[:, left * self.hop : right * self.hop], lengths, left)
            # The frames of context are only read.
            chunks.append(codes[:, start - left : end - left])
        codes = torch.cat(chunks, dim=1)
        return [row[:length] for row, length in zip(codes, frames, strict=True)]

    def _chunks(self, frames: int) -> list[tuple[int, int, int, int]]:
        """(start, end) of each chunk, and (left, right) of the frames that it is computed from."""
        chunks = []
        for start in range(0, frames, CHUNK_FRAMES):
            end = min(start + CHUNK_FRAMES, frames)
            chunks.append((start, end, self.chunk_start(start), min(frames, end + self.context)))
        return chunks
