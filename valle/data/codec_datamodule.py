"""Batches for training a codec: random crops of waveforms with the aligned phones of their frames."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from valle import audio
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment
from valle.data.utterance import Utterance
from valle.errors import UserError

# Probability that the speed of a crop is changed, and the range of the factor.
SPEED_PROB = 0.5
SPEED_RANGE = (0.85, 1.18)
# Range of the gain of a crop, as a power of 10: -12 to 6 dB.
GAIN_RANGE = (-0.6, 0.3)
# Peak that a crop never exceeds.
MAX_PEAK = 0.99


@dataclass(frozen=True)
class CropConfig:
    """How crops are cut.

    Attributes:
        sample_rate: Hertz; recordings are resampled to it.
        frame_rate: Frames of the codec per second.
        seconds: Length of a crop.
        augment: Whether to change the speed and the gain of crops at random.
        seed: Seed of the selection.
    """

    sample_rate: int
    frame_rate: float
    seconds: float
    augment: bool
    seed: int = 0


class Clip:
    """A recording in memory.

    Args:
        utterance: Utterance to read.
        sample_rate: Hertz that the recording is resampled to.

    Attributes:
        samples: (time,) float32 waveform.
        phones: Its aligned phones.
    """

    def __init__(self, utterance: Utterance, sample_rate: int) -> None:
        self.samples = audio.read(utterance.path, sample_rate, start=utterance.start, end=utterance.end).samples
        self.phones = PhoneAlignment(utterance.phones)


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Random crops of recordings.

    Crop `index` of an epoch is a random part of a random recording, selected in proportion to its length. It depends on
    the seed, the epoch and the index alone. All recordings are held in memory (an hour at 16 kHz is 230 MB).

    Args:
        utterances: Recordings.
        config: How crops are cut.
        count: Crops per epoch.
    """

    def __init__(self, utterances: list[Utterance], config: CropConfig, count: int) -> None:
        with ThreadPoolExecutor() as pool:
            self.clips = list(pool.map(lambda utterance: Clip(utterance, config.sample_rate), utterances))
        self.config = config
        self.count = count
        self.epoch = 0
        self._cumulative_lengths = np.cumsum([len(clip.samples) for clip in self.clips])
        self._length = round(config.seconds * config.sample_rate)
        self._frame_centers = (np.arange(round(config.seconds * config.frame_rate)) + 0.5) / config.frame_rate

    def __len__(self) -> int:
        """Crops per epoch."""
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Cut a crop.

        Args:
            index: Index of the crop in the epoch.

        Returns:
            (time,) float32 samples, and the (frames,) int64 class of the phone in the middle of each frame.
        """
        rng = random.Random(f"{self.config.seed} {self.epoch} {index}")
        position = rng.random() * self._cumulative_lengths[-1]
        clip = self.clips[int(np.searchsorted(self._cumulative_lengths, position))]
        speed = rng.uniform(*SPEED_RANGE) if self.config.augment and rng.random() < SPEED_PROB else 1.0
        # Two samples more than needed, since the resampler may round down.
        needed = int(self._length * speed) + 2
        start = rng.randrange(max(1, len(clip.samples) - needed))
        crop = clip.samples[start : start + needed]
        if speed != 1.0:
            # Resampling moves pitch and formants together, which gives more voices than were recorded.
            crop = audio.resample(crop, int(self.config.sample_rate * speed), self.config.sample_rate)
        crop = np.pad(crop[: self._length], (0, max(0, self._length - len(crop))))
        peak = float(np.abs(crop).max())
        if self.config.augment and peak > 0:
            crop = crop * min(10 ** rng.uniform(*GAIN_RANGE), MAX_PEAK / peak)
        classes = clip.phones.classes_at(start / self.config.sample_rate + self._frame_centers * speed)
        return torch.from_numpy(crop.astype(np.float32)), torch.from_numpy(classes)


class CropsDataModule(L.LightningDataModule):
    """Crops of data directories and of audio files.

    A source is a data directory or a text file that lists audio files, one path per line. Crops of a source that is
    given more than once are more likely.

    Args:
        train: Sources for training.
        valid: Sources for validation.
        sample_rate: Hertz; recordings are resampled to it.
        frame_rate: Frames of the codec per second; each frame has a phone class.
        seconds: Length of a crop.
        batch_size: Crops per step.
        epoch_size: Crops per epoch.
        seed: Seed of the crops.
        num_workers: Processes that cut crops; one supplies two CPU cores, a GPU needs all that there are.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        sample_rate: int = 16_000,
        frame_rate: float = 50.0,
        seconds: float = 1.5,
        batch_size: int = 16,
        epoch_size: int = 8000,
        seed: int = 0,
        num_workers: int = 1,
    ) -> None:
        super().__init__()
        self.train = [Path(path) for path in train]
        self.valid = [Path(path) for path in valid]
        self.sample_rate = sample_rate
        self.frame_rate = frame_rate
        self.seconds = seconds
        self.batch_size = batch_size
        self.epoch_size = epoch_size
        self.seed = seed
        self.num_workers = num_workers

    def setup(self, stage: str) -> None:
        """Read all recordings."""
        self.train_crops = self._crops(self.train, self.epoch_size, augment=True)
        # Validation is short, and not augmented: its loss must be comparable from step to step.
        self.valid_crops = self._crops(self.valid, 8 * self.batch_size, augment=False)

    def train_dataloader(self) -> DataLoader:
        """Batches of an epoch: (batch, time) samples and (batch, frames) phone classes."""
        assert self.trainer is not None
        self.train_crops.epoch = self.trainer.current_epoch
        return DataLoader(self.train_crops, self.batch_size, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        """Batches for validation, the same in every epoch."""
        return DataLoader(self.valid_crops, self.batch_size)

    def _crops(self, sources: list[Path], count: int, *, augment: bool) -> Crops:
        """Crops of sources."""
        utterances = [utterance for source in sources for utterance in _read_source(source)]
        config = CropConfig(
            sample_rate=self.sample_rate,
            frame_rate=self.frame_rate,
            seconds=self.seconds,
            augment=augment,
            seed=self.seed,
        )
        return Crops(utterances, config, count)


def _read_source(source: Path) -> list[Utterance]:
    """The utterances of a data directory, or one for each file of a list."""
    if source.is_dir():
        return kaldi.read(source)
    if not source.is_file():
        raise UserError(f"{source}: neither a data directory nor a list of audio files; check the path")
    lines = filter(None, source.read_text(encoding="utf-8").splitlines())
    return [Utterance(line, Path(line), "", "") for line in lines]
