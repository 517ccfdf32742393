"""Random crops of waveforms, the batches a codec trains on."""

from __future__ import annotations

import random
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from valle import audio


class Crops(Dataset[Tensor]):
    """Crop `index` of an epoch: a random stretch of a random file, at a random speed and gain.

    The draw depends on `seed`, on the epoch and on the index alone. All files are held in memory
    (an hour at 16 kHz is 230 MB).
    """

    def __init__(self, files: list[Path], sample_rate: int, seconds: float, count: int, seed: int, vary: bool) -> None:
        self.clips = [audio.read(file, sample_rate).samples for file in files]
        self.chances = np.cumsum([len(clip) for clip in self.clips])
        self.sample_rate, self.length, self.count, self.seed, self.vary = (
            sample_rate,
            round(seconds * sample_rate),
            count,
            seed,
            vary,
        )
        self.epoch = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Tensor:
        rng = random.Random(f"{self.seed} {self.epoch} {index}")
        clip = self.clips[int(np.searchsorted(self.chances, rng.random() * self.chances[-1]))]
        speed = rng.uniform(0.85, 1.18) if self.vary and rng.random() < 0.5 else 1.0
        needed = int(self.length * speed) + 2
        start = rng.randrange(max(1, len(clip) - needed))
        crop = clip[start : start + needed]
        if speed != 1.0:  # changes pitch and formants: more speakers than were recorded
            crop = audio.resample(crop, int(self.sample_rate * speed), self.sample_rate)
        crop = np.pad(crop[: self.length], (0, max(0, self.length - len(crop))))
        peak = float(np.abs(crop).max())
        if self.vary and peak > 0:
            crop = crop * min(10 ** rng.uniform(-0.6, 0.3), 0.99 / peak)
        return torch.from_numpy(crop.astype(np.float32))


class CropsDataModule(L.LightningDataModule):
    """Crops of every sound file named in list files (one path a line; a path may be repeated to weigh more).

    Args:
        train: list files for training.
        valid: list files for validation.
        sample_rate: hertz; files are resampled to it.
        seconds: length of a crop.
        batch_size: crops a step.
        epoch_size: crops an epoch.
        seed: of the draw.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        sample_rate: int = 16_000,
        seconds: float = 1.5,
        batch_size: int = 16,
        epoch_size: int = 8000,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.train, self.valid = [Path(path) for path in train], [Path(path) for path in valid]
        self.sample_rate, self.seconds, self.seed = sample_rate, seconds, seed
        self.batch_size, self.epoch_size = batch_size, epoch_size

    def _crops(self, lists: list[Path], count: int, vary: bool) -> Crops:
        files = [Path(line) for path in lists for line in path.read_text().splitlines() if line]
        return Crops(files, self.sample_rate, self.seconds, count, self.seed, vary)

    def setup(self, stage: str) -> None:
        self.train_crops = self._crops(self.train, self.epoch_size, vary=True)
        self.valid_crops = self._crops(self.valid, 8 * self.batch_size, vary=False)

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        self.train_crops.epoch = self.trainer.current_epoch
        return DataLoader(self.train_crops, self.batch_size, num_workers=1)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.valid_crops, self.batch_size)
