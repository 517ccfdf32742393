"""Batches of tokenized speech, bucketed by duration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from valle.data.tokens import TokensConfig, read_markers, read_vocabulary
from valle.errors import UserError
from valle.text import PADDING, TextUnits, Vocabulary, bpe_symbols, read_bpe

NEVER = 2**31  # the start of a phoneme that is not known, or padding


@dataclass
class Batch:
    """Utterances padded on the right.

    phonemes: (batch, time) ids of phonemes or other text units; codes: (batch, frames, codebook); lengths: (batch,)
    ids:      utterances' names
    starts:   (batch, time), the frame each phoneme begins at; past every frame where it is not known
    """

    phonemes: Tensor
    phoneme_lengths: Tensor
    codes: Tensor
    code_lengths: Tensor
    starts: Tensor
    ids: list[str]


class _Utterances(Dataset[Batch]):
    """Makes the batch of a set of cuts; `bpe`: tokenizer of the text, None: its phonemes are read."""

    def __init__(self, vocabulary: Vocabulary, bpe: str | None) -> None:
        self.vocabulary, self.bpe = vocabulary, bpe

    def __getitem__(self, cuts: Any) -> Batch:
        cuts = list(cuts)
        if self.bpe is None:
            symbols = [cut.custom["phonemes"] for cut in cuts]
            starts = [torch.tensor(cut.custom.get("starts", [NEVER])) for cut in cuts]
        else:
            symbols = TextUnits(bpe=self.bpe)([cut.custom["normalized"] for cut in cuts])
            starts = [torch.tensor([NEVER])] * len(cuts)
        phonemes = [torch.tensor(self.vocabulary.encode(row)) for row in symbols]
        codes = [torch.from_numpy(cut.load_custom("codes")).long() for cut in cuts]
        return Batch(
            phonemes=pad_sequence(phonemes, batch_first=True),
            phoneme_lengths=torch.tensor([len(item) for item in phonemes]),
            codes=pad_sequence(codes, batch_first=True),
            code_lengths=torch.tensor([len(item) for item in codes]),
            starts=pad_sequence(starts, batch_first=True, padding_value=NEVER),
            ids=[cut.id for cut in cuts],
        )


class _From:
    """A sampler from its n-th batch on: where an interrupted epoch goes on."""

    def __init__(self, sampler: Any, first: int) -> None:
        self.sampler, self.first = sampler, first

    def __iter__(self) -> Iterator[Any]:
        first, self.first = self.first, 0
        return islice(iter(self.sampler), first, None)

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this before each epoch: another order of the data."""
        self.sampler.set_epoch(epoch)


class TokensDataModule(L.LightningDataModule):
    """Batches of `valle-tokenize`'s folders.

    The order depends on `seed` and the epoch alone, and an interrupted epoch goes on at the batch where it stopped.
    Codes are small (an hour is 3 MB), so batches are made in the training process.

    Args:
        train: folders of tokens to train on.
        valid: folders of tokens to validate on.
        max_duration: seconds of speech a batch without padding; more by at most what its utterances differ in length.
        max_utterance: seconds; longer utterances are left out.
        num_buckets: of like duration.
        buffer_size: utterances drawn from at a time.
        seed: of the order.
        bpe: file of text units made by `valle-prepare bpe`, to be read in place of phonemes.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        max_duration: float = 120.0,
        max_utterance: float = 20.0,
        num_buckets: int = 10,
        buffer_size: int = 20_000,
        seed: int = 0,
        bpe: str | None = None,
    ) -> None:
        super().__init__()
        self.train, self.valid = [Path(d) for d in train], [Path(d) for d in valid]
        self.max_duration, self.max_utterance = max_duration, max_utterance
        self.num_buckets, self.buffer_size, self.seed = num_buckets, buffer_size, seed
        configs = [TokensConfig.read(directory) for directory in (*self.train, *self.valid)]
        for key in ("codec", "language"):
            kinds = {getattr(config, key) for config in configs}
            if len(kinds) > 1:
                raise UserError(
                    f"the folders of tokens differ in {key}: {', '.join(sorted(kinds))}; tokenize them alike"
                )
        self.config = configs[0]
        self.bpe = read_bpe(Path(bpe)) if bpe else None
        if self.bpe is None:
            self.vocabulary = read_vocabulary([*self.train, *self.valid])
        else:
            self.vocabulary = Vocabulary([PADDING, *bpe_symbols(self.bpe)])
        self._batches_done = 0

    def _cuts(self, directories: list[Path], shuffle: bool) -> Any:
        from lhotse import CutSet

        shards = [(directory, index) for directory in directories for index in range(len(read_markers(directory)))]
        fields = {
            name: [str(directory / f"{name}.{index:06d}.{ending}") for directory, index in shards]
            for name, ending in (("cuts", "jsonl.gz"), ("codes", "tar"))
        }
        cuts = CutSet.from_shar(fields=fields, shuffle_shards=shuffle, stateful_shuffle=True, seed=self.seed)
        return cuts.filter(self._short_enough)

    def _short_enough(self, cut: Any) -> bool:
        return cut.duration <= self.max_utterance

    def _sampler(self, directories: list[Path], shuffle: bool) -> Any:
        from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler

        if not shuffle:
            return DynamicCutSampler(self._cuts(directories, shuffle), max_duration=self.max_duration)

        utterances = sum(marker["utterances"] for directory in directories for marker in read_markers(directory))
        return DynamicBucketingSampler(
            self._cuts(directories, shuffle),
            max_duration=self.max_duration,
            num_buckets=max(2, min(self.num_buckets, utterances)),
            buffer_size=self.buffer_size,
            shuffle=True,
            seed=self.seed,
            sync_buckets=True,
        )

    def train_dataloader(self) -> DataLoader:
        sampler = _From(self._sampler(self.train, shuffle=True), self._batches_done)
        self._batches_done = 0
        return DataLoader(_Utterances(self.vocabulary, self.bpe), sampler=sampler, batch_size=None)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader:
        return DataLoader(
            _Utterances(self.vocabulary, self.bpe), sampler=self._sampler(self.valid, False), batch_size=None
        )

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
        return Batch(**moved, ids=batch.ids)

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        finished = self.trainer.fit_loop.epoch_loop._is_training_done or progress.is_last_batch
        return {"batches_done": 0 if finished else progress.current.ready}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._batches_done = state_dict["batches_done"]
