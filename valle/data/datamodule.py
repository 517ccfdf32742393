"""Batches of tokenized speech, bucketed by duration."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset

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
    prompts:  (batch, frames), first codebook of an untranscribed prompt of the same speaker; None: no row has one
    prompt_lengths: (batch,), 0 for a row without such a prompt
    """

    phonemes: Tensor
    phoneme_lengths: Tensor
    codes: Tensor
    code_lengths: Tensor
    starts: Tensor
    ids: list[str]
    prompts: Tensor | None = None
    prompt_lengths: Tensor | None = None


@dataclass
class _Source:
    """Sets of cuts, one a batch, the same for the same epoch. `steps`: of an epoch; None: as many as there are."""

    sampler: Any
    shards: Any
    steps: int | None = None

    def set_epoch(self, epoch: int) -> None:
        self.sampler.set_epoch(epoch)
        self.shards.epoch = epoch

    def __iter__(self) -> Iterator[Any]:
        return islice(iter(self.sampler), self.steps)


class _Batches(IterableDataset[Batch]):
    """The batches of an epoch, from the n-th on: where an interrupted epoch goes on.

    Sampler, files and batches are all the worker's process; the training process only takes what is ready.
    `bpe`: tokenizer of the text; None: its phonemes are read.
    """

    def __init__(self, source: _Source, vocabulary: Vocabulary, bpe: str | None, first: int = 0) -> None:
        self.source, self.vocabulary, self.bpe, self.first = source, vocabulary, bpe, first

    def __iter__(self) -> Iterator[Batch]:
        return map(self._batch, islice(self.source, self.first, None))

    def _batch(self, cuts: Any) -> Batch:
        cuts = list(cuts)
        if self.bpe is None:
            symbols = [cut.custom["phonemes"] for cut in cuts]
            starts = [torch.tensor(cut.custom.get("starts", [NEVER])) for cut in cuts]
        else:
            symbols = TextUnits(bpe=self.bpe)([cut.custom["normalized"] for cut in cuts])
            starts = [torch.tensor([NEVER])] * len(cuts)
        phonemes = [torch.tensor(self.vocabulary.encode(row)) for row in symbols]
        codes = [torch.from_numpy(cut.load_custom("codes")).long() for cut in cuts]
        prompts = [torch.tensor(cut.custom.get("prompt", []), dtype=torch.long) for cut in cuts]
        prompted = any(len(item) for item in prompts)
        return Batch(
            phonemes=pad_sequence(phonemes, batch_first=True),
            phoneme_lengths=torch.tensor([len(item) for item in phonemes]),
            codes=pad_sequence(codes, batch_first=True),
            code_lengths=torch.tensor([len(item) for item in codes]),
            starts=pad_sequence(starts, batch_first=True, padding_value=NEVER),
            ids=[cut.id for cut in cuts],
            prompts=pad_sequence(prompts, batch_first=True) if prompted else None,
            prompt_lengths=torch.tensor([len(item) for item in prompts]) if prompted else None,
        )


def _short_enough(cut: Any, most: float) -> bool:
    return cut.duration <= most


def _outlive_sigterm(worker: int) -> None:
    """SIGTERM goes to whole groups of processes; the training process decides when its worker stops."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


class _Loader(DataLoader[Batch]):
    """Sets the epoch, and so the order of the data, whenever one begins: Lightning tells it to samplers only, and ours
    works in another process."""

    def __init__(self, batches: _Batches, epoch: Callable[[], int], workers: int) -> None:
        super().__init__(batches, batch_size=None, num_workers=workers, worker_init_fn=_outlive_sigterm)
        self.batches, self.epoch = batches, epoch

    def __iter__(self) -> Any:
        self.batches.source.set_epoch(self.epoch())
        iterator = super().__iter__()
        self.batches.first = 0  # of the next epoch; this one has begun
        return iterator


class TokensDataModule(L.LightningDataModule):
    """Batches of `valle-tokenize`'s folders.

    The order depends on `seed` and the epoch alone, and an interrupted epoch goes on at the batch where it stopped.
    Each rank has one process that reads shards from end to end and keeps batches ready.

    Args:
        train: folders of tokens to train on.
        valid: folders of tokens to validate on.
        max_duration: seconds of speech a batch without padding; more by at most what its utterances differ in length.
        max_utterance: seconds; longer utterances are left out.
        num_buckets: of like duration: more of them leave less padding, and need more utterances to be random.
        buffer_size: utterances drawn from at a time.
        seed: of the order.
        bpe: file of text units made by `valle-prepare bpe`, to be read in place of phonemes.
        num_workers: 1, or 0 to make batches in the training process.
        split_shards: each rank reads shards of its own, not all to take its share of each: for corpora so large, or
            ranks so many, that reading all is too slow. An epoch is then as many steps as the corpus has speech for;
            a few utterances may come twice in it, or not at all.
    """

    def __init__(
        self,
        train: list[str],
        valid: list[str],
        max_duration: float = 120.0,
        max_utterance: float = 20.0,
        num_buckets: int = 30,
        buffer_size: int = 20_000,
        seed: int = 0,
        bpe: str | None = None,
        num_workers: int = 1,
        split_shards: bool = False,
    ) -> None:
        super().__init__()
        if num_workers not in (0, 1):
            raise UserError(f"num_workers {num_workers}: one process keeps up; give 1, or 0 for none")
        if max_duration <= 0 or max_utterance <= 0:
            raise UserError("max_duration and max_utterance are seconds of speech; give more than 0")
        if not 0 <= seed < 2**64:
            raise UserError(f"--data.init_args.seed {seed}: give a number from 0 to 2^64 - 1")
        self.num_workers, self.split_shards = num_workers, split_shards
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
        self._place: tuple[int, int] | None = None  # epoch and batch at which a stopped run goes on
        self._epoch, self._batches_before = 0, 0  # the current one, and how many batches of the run came before it

    def _source(
        self, directories: list[Path], shuffle: bool, rank: int | None = None, world_size: int | None = None
    ) -> _Source:
        """Batches of this rank, by default the process's: each rank has others, of the same bucket, and as many."""
        from lhotse import CutSet
        from lhotse.dataset import DynamicBucketingSampler, DynamicCutSampler

        if rank is None or world_size is None:
            grouped = torch.distributed.is_available() and torch.distributed.is_initialized()
            rank = torch.distributed.get_rank() if grouped else 0
            world_size = torch.distributed.get_world_size() if grouped else 1
        markers = [(directory, *item) for directory in directories for item in enumerate(read_markers(directory))]
        steps, split = None, shuffle and self.split_shards and world_size > 1
        if split:
            steps = int(sum(marker["seconds"] for *_, marker in markers) / (self.max_duration * world_size))
            markers, rank, world_size = markers[rank::world_size], 0, 1
            if not markers or not steps:
                raise UserError("split_shards: there are fewer shards, or batches, than ranks; leave it out")
        fields = {
            name: [str(directory / f"{name}.{index:06d}.{ending}") for directory, index, _ in markers]
            for name, ending in (("cuts", "jsonl.gz"), ("codes", "tar"))
        }
        shards = CutSet.from_shar(fields=fields, shuffle_shards=shuffle, stateful_shuffle=True, seed=self.seed)
        cuts = shards.filter(partial(_short_enough, most=self.max_utterance))
        if not shuffle:
            sampler = DynamicCutSampler(cuts, max_duration=self.max_duration, rank=rank, world_size=world_size)
            return _Source(sampler, shards.data)
        sampler = DynamicBucketingSampler(
            cuts.repeat(preserve_id=True) if split else cuts,
            max_duration=self.max_duration,
            num_buckets=self._buckets(fields["cuts"]),
            buffer_size=self.buffer_size,
            shuffle=True,
            seed=self.seed,
            sync_buckets=True,
            rank=rank,
            world_size=world_size,
        )
        return _Source(sampler, shards.data, steps)

    def _buckets(self, shards: list[str]) -> int:
        """Buckets for the training utterances in these files: at most one for each utterance that is short enough.

        Raises UserError where there are fewer than two.
        """
        from lhotse import CutSet

        # Not the cuts to train on: their order depends on how often they were read.
        cuts = CutSet.from_shar(fields={"cuts": shards}).filter(partial(_short_enough, most=self.max_utterance))
        count = sum(1 for _ in islice(cuts, max(2, self.num_buckets)))
        if count < 2:
            raise UserError(
                f"{', '.join(map(str, self.train))}: {count} utterances to train on of at most "
                f"{self.max_utterance:g} s (--data.init_args.max_utterance); give at least 2"
            )
        return count

    def train_dataloader(self) -> DataLoader:
        first = self._place[1] if self._place else 0
        batches = _Batches(self._source(self.train, True), self.vocabulary, self.bpe, first)
        return _Loader(batches, self._begin_epoch, self.num_workers)

    def _begin_epoch(self) -> int:
        # Lightning's own counts, of a run that goes on after an epoch's last batch, are set right only later.
        self._epoch, first = self._place or (self.trainer.current_epoch if self.trainer else 0, 0)
        self._batches_before = self._batches_begun - first
        self._place = None
        return self._epoch

    @property
    def _batches_begun(self) -> int:
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.ready if self.trainer else 0

    def val_dataloader(self) -> DataLoader:
        return _Loader(_Batches(self._source(self.valid, False), self.vocabulary, self.bpe), lambda: 0, 0)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        moved = {name: value.to(device) for name, value in vars(batch).items() if isinstance(value, Tensor)}
        return Batch(**moved, ids=batch.ids)

    def state_dict(self) -> dict[str, Any]:
        assert self.trainer is not None
        if self.trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return {"epoch": self._epoch + 1, "batches_done": 0}
        return {"epoch": self._epoch, "batches_done": self._batches_begun - self._batches_before}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._place = state_dict["epoch"], state_dict["batches_done"]
