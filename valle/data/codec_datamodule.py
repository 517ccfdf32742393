"""Random crops of waveforms, and the phones spoken in them where they are known: the batches a codec trains on."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from valle import audio
from valle.data import kaldi
from valle.data.phoneme_timing import PhoneAlignment
from valle.errors import UserError


class Clip:
    """A recording in memory: its samples, and the phones spoken in it."""

    def __init__(self, utterance: kaldi.Utterance, sample_rate: int) -> None:
        self.samples = audio.read(utterance.path, sample_rate, start=utterance.start, end=utterance.end).samples
        self.phones = PhoneAlignment(utterance.phones)


class Crops(Dataset[tuple[Tensor, Tensor]]):
    """Crop `index` of an epoch: a random stretch of a random recording, at a random speed and gain, (time,), and the
    class of the phone in the middle of each of its frames, (frames,).

    The draw depends on `seed`, on the epoch and on the index alone. All recordings are held in memory
    (an hour at 16 kHz is 230 MB).
    """

    def __init__(
        self,
        utterances: list[kaldi.Utterance],
        sample_rate: int,
        frame_rate: float,
        seconds: float,
        count: int,
        seed: int,
        vary: bool,
    ) -> None:
        with ThreadPoolExecutor() as pool:
            self.clips = list(pool.map(lambda utterance: Clip(utterance, sample_rate), utterances))
        self.chances = np.cumsum([len(clip.samples) for clip in self.clips])
        self.sample_rate, self.length, self.count = sample_rate, round(seconds * sample_rate), count
        self.middles = (np.arange(round(seconds * frame_rate)) + 0.5) / frame_rate
        self.seed, self.vary, self.epoch = seed, vary, 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(f"{self.seed} {self.epoch} {index}")
        clip = self.clips[int(np.searchsorted(self.chances, rng.random() * self.chances[-1]))]
        speed = rng.uniform(0.85, 1.18) if self.vary and rng.random() < 0.5 else 1.0
        needed = int(self.length * speed) + 2
        start = rng.randrange(max(1, len(clip.samples) - needed))
        crop = clip.samples[start : start + needed]
        if speed != 1.0:  # changes pitch and formants: more speakers than were recorded
            crop = audio.resample(crop, int(self.sample_rate * speed), self.sample_rate)
        crop = np.pad(crop[: self.length], (0, max(0, self.length - len(crop))))
        peak = float(np.abs(crop).max())
        if self.vary and peak > 0:
            crop = crop * min(10 ** rng.uniform(-0.6, 0.3), 0.99 / peak)
        phones = clip.phones.classes_at(start / self.sample_rate + self.middles * speed)
        return torch.from_numpy(crop.astype(np.float32)), torch.from_numpy(phones)


class CropsDataModule(L.LightningDataModule):
    """Crops of data directories, and of every sound file named in list files (one path a line). What is named more than
    once weighs more.

    Args:
        train: data directories and list files for training.
        valid: data directories and list files for validation.
        sample_rate: hertz; recordings are resampled to it.
        frame_rate: of the codec, hertz: a phone for each of its frames.
        seconds: length of a crop.
        batch_size: crops a step.
        epoch_size: crops an epoch.
        seed: of the draw.
        num_workers: processes that cut crops; one feeds two cores, a GPU needs all that there are.
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
        self.num_workers = num_workers
        self.train, self.valid = [Path(path) for path in train], [Path(path) for path in valid]
        self.sample_rate, self.frame_rate, self.seconds, self.seed = sample_rate, frame_rate, seconds, seed
        self.batch_size, self.epoch_size = batch_size, epoch_size

    def _crops(self, sources: list[Path], count: int, vary: bool) -> Crops:
        utterances = [u for source in sources for u in _utterances(source)]
        return Crops(utterances, self.sample_rate, self.frame_rate, self.seconds, count, self.seed, vary)

    def setup(self, stage: str) -> None:
        self.train_crops = self._crops(self.train, self.epoch_size, vary=True)
        self.valid_crops = self._crops(self.valid, 8 * self.batch_size, vary=False)

    def train_dataloader(self) -> DataLoader:
        assert self.trainer is not None
        self.train_crops.epoch = self.trainer.current_epoch
        return DataLoader(self.train_crops, self.batch_size, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.valid_crops, self.batch_size)


def _utterances(source: Path) -> list[kaldi.Utterance]:
    if source.is_dir():
        return kaldi.read(source)
    if not source.is_file():
        raise UserError(f"{source}: neither a data directory nor a list of sound files")
    lines = filter(None, source.read_text(encoding="utf-8").splitlines())
    return [kaldi.Utterance(line, Path(line), "", "") for line in lines]
