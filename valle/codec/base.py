"""What a codec is: waveform to codes and back."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from valle import audio
from valle.text.phones import UNKNOWN

CHUNK_FRAMES = 1500  # frames coded at a time: memory stays bounded however long a file is


class Codec(ABC):
    """Waveforms are (time,) float32 numpy arrays in [-1, 1]; codes are (time, codebook) int64 tensors.

    name:          as in `valle.codec.load(name)`
    sample_rate:   hertz
    hop:           samples a frame
    num_codebooks, codebook_size: 8 and 1024 for every codec here
    context:       frames on either side that can change a frame
    """

    name: str
    sample_rate: int
    hop: int
    num_codebooks: int
    codebook_size: int
    context: int

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop

    @property
    @abstractmethod
    def codebooks(self) -> Tensor:
        """The vectors that the codes stand for: (codebook, entry, latent_dim)."""

    @abstractmethod
    def _encode(self, waveforms: Tensor, frames: Tensor, phones: Tensor | None) -> Tensor:
        """(batch, frames * hop), each row zero after its length -> (batch, frames, codebook).

        phones: (batch, frames) classes of what is spoken, for a codec whose first codes stand for phones
        """

    @abstractmethod
    def _decode(self, codes: Tensor, frames: Tensor) -> Tensor:
        """(batch, frames, codebook) -> (batch, frames * hop)."""

    @property
    def phones(self) -> Tensor | None:
        """Class (`valle.text.phones`) of the phone that each first code stands for, (entry,); None: they do not."""
        return None

    def encode(self, samples: np.ndarray, sample_rate: int) -> Tensor:
        """One waveform at any rate -> codes (time, codebook); time = ceil(duration * frame_rate)."""
        return self.encode_batch([samples], sample_rate)[0]

    def decode(self, codes: Tensor | np.ndarray) -> np.ndarray:
        """Codes (time, codebook) -> waveform (time * hop,) at `self.sample_rate`."""
        return self.decode_batch([torch.as_tensor(codes)])[0]

    @torch.inference_mode()
    def encode_batch(
        self, waveforms: list[np.ndarray], sample_rate: int, phones: list[np.ndarray] | None = None
    ) -> list[Tensor]:
        """Several waveforms at once; each gives what `encode` gives.

        phones: of each, the class (`valle.text.phones`) of the phone spoken in each frame. A codec whose first codes
            stand for phones then takes those of the phone spoken: codes to train on, clearer than what it hears.
        """
        waveforms = [np.asarray(samples, dtype=np.float32) for samples in waveforms]
        for samples in waveforms:
            if samples.ndim != 1 or len(samples) == 0:
                raise ValueError(f"samples of shape {samples.shape}: expected (time,) with at least one sample")
        waveforms = [audio.resample(samples, sample_rate, self.sample_rate) for samples in waveforms]
        frames = [-(-len(samples) // self.hop) for samples in waveforms]
        if max(frames) > CHUNK_FRAMES and len(waveforms) > 1:
            if phones is None:
                return [self.encode(samples, self.sample_rate) for samples in waveforms]
            pairs = zip(waveforms, phones, strict=True)
            return [self.encode_batch([samples], self.sample_rate, [row])[0] for samples, row in pairs]
        padded = torch.zeros(len(waveforms), max(frames) * self.hop)
        for row, samples in zip(padded, waveforms, strict=True):
            row[: len(samples)] = torch.from_numpy(samples)
        spoken = None
        if phones is not None:
            rows = [torch.from_numpy(row[:length]) for row, length in zip(phones, frames, strict=True)]
            spoken = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=UNKNOWN)
        pieces = []
        for start, end, left, right in self._chunks(max(frames)):
            lengths = torch.tensor(frames).clamp(max=right) - left
            part = None if spoken is None else spoken[:, left:right]
            codes = self._encode(padded[:, left * self.hop : right * self.hop], lengths, part)
            pieces.append(codes[:, start - left : end - left])
        codes = torch.cat(pieces, dim=1)
        return [row[:length] for row, length in zip(codes, frames, strict=True)]

    @torch.inference_mode()
    def decode_batch(self, codes: list[Tensor]) -> list[np.ndarray]:
        """Several code sequences at once; each gives what `decode` gives. Fewer codebooks sound coarser."""
        for item in codes:
            if item.ndim != 2 or not 1 <= item.shape[1] <= self.num_codebooks or len(item) == 0:
                raise ValueError(f"codes of shape {tuple(item.shape)}: expected (time, 1 to {self.num_codebooks})")
            if int(item.min()) < 0 or int(item.max()) >= self.codebook_size:
                raise ValueError(f"codes must lie between 0 and {self.codebook_size - 1}")
        frames = [len(item) for item in codes]
        if max(frames) > CHUNK_FRAMES and len(codes) > 1:
            return [self.decode(item) for item in codes]
        padded = torch.nn.utils.rnn.pad_sequence(codes, batch_first=True)
        pieces = []
        for start, end, left, right in self._chunks(max(frames)):
            lengths = torch.tensor(frames).clamp(max=right) - left
            samples = self._decode(padded[:, left:right], lengths)
            pieces.append(samples[:, (start - left) * self.hop : (end - left) * self.hop])
        audio_out = torch.cat(pieces, dim=1).float()
        return [row[: length * self.hop].numpy() for row, length in zip(audio_out, frames, strict=True)]

    def _chunks(self, frames: int) -> list[tuple[int, int, int, int]]:
        """(start, end) of each chunk, and (left, right) of what is read to compute it exactly."""
        return [
            (
                start,
                end := min(start + CHUNK_FRAMES, frames),
                max(0, start - self.context),
                min(frames, end + self.context),
            )
            for start in range(0, frames, CHUNK_FRAMES)
        ]
